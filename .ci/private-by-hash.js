/** A rule of ESLint: what a class keeps to itself has a name with `#`, which holds at run time too. AssemblyScript knows no such names. */

export const privateByHash = {
  meta: {
    type: 'suggestion',
    schema: [],
    messages: { byKeyword: 'Name it `#{{ name }}` instead of `private {{ name }}`.' },
  },
  create(context) {
    const check = (node) => {
      if (node.accessibility !== 'private' || node.kind === 'constructor') return;
      context.report({ node, messageId: 'byKeyword', data: { name: node.key.name } });
    };
    return { PropertyDefinition: check, MethodDefinition: check, AccessorProperty: check };
  },
};
