/**
 * A rule of ESLint: `prettier-ignore` stands only before a table, on a line of its own. A table is a variable whose value is a literal of
 * rows (three or more arrays, objects or calls) or of cells (eight or more constants), over several lines. All else Prettier lays out.
 */

/** The literal that a variable is made of: itself, or the one thing that it is made from, as in `new Set([…])`. */
function literalOf(node) {
  while (node !== null && node !== undefined)
    if (node.type === 'ArrayExpression' || node.type === 'ObjectExpression') return node;
    else if (node.type === 'TSAsExpression' || node.type === 'TSSatisfiesExpression') node = node.expression;
    else if (/^(?:Call|New)Expression$/.test(node.type) && node.arguments.length === 1)
      node = node.arguments[0];
    else return undefined;
  return undefined;
}

const isRow = (value) => /^(?:Array|Object|Call)Expression$/.test(value.type);

/** A number, a text, or what is made of such and of named constants (`Command.read`). */
function isCell(value) {
  if (value.type === 'BinaryExpression') return isCell(value.left) && isCell(value.right);
  if (value.type === 'UnaryExpression') return isCell(value.argument);
  if (value.type === 'MemberExpression') return isCell(value.object);
  if (value.type === 'Identifier') return /^[A-Z]/.test(value.name);
  return /^(?:Literal|TemplateLiteral|TaggedTemplateExpression)$/.test(value.type);
}

function isTable(statement) {
  const declared = statement?.type === 'ExportNamedDeclaration' ? statement.declaration : statement;
  if (declared?.type !== 'VariableDeclaration' || declared.declarations.length !== 1) return false;
  const literal = literalOf(declared.declarations[0].init);
  if (literal === undefined || literal.loc.end.line - literal.loc.start.line < 2) return false;
  const entries = (literal.elements ?? literal.properties).filter((entry) => entry !== null);
  const values = entries
    .filter(({ type }) => type !== 'SpreadElement')
    .map((entry) => (entry.type === 'Property' ? entry.value : entry))
    .map((value) => (value.type === 'TSAsExpression' ? value.expression : value));
  return (values.length >= 3 && values.every(isRow)) || (values.length >= 8 && values.every(isCell));
}

/** The outermost statement that begins at a token. */
function statementAt(source, token) {
  let found;
  for (let node = source.getNodeByRangeIndex(token.range[0]); node !== null; node = node.parent) {
    if (node.type === 'Program' || node.range[0] !== token.range[0]) break;
    found = node;
  }
  return found;
}

export const tablesOnly = {
  meta: {
    type: 'layout',
    schema: [],
    messages: {
      noTable:
        '`prettier-ignore` is for tables, on a line of its own before them: let Prettier lay this out.',
    },
  },
  create(context) {
    const source = context.sourceCode;
    return {
      'Program:exit'() {
        for (const comment of source.getAllComments()) {
          if (!/^\s*prettier-ignore/.test(comment.value)) continue;
          const before = source.lines[comment.loc.start.line - 1].slice(0, comment.loc.start.column);
          const next = source.getTokenAfter(comment);
          if (before.trim() !== '' || next === null || !isTable(statementAt(source, next)))
            context.report({ loc: comment.loc, messageId: 'noTable' });
        }
      },
    };
  },
};
