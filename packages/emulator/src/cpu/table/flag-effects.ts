/**
 * What instructions do with the arithmetic flags: which they read, which they define, which they leave undefined. SDM Vol. 2 ("Flags
 * Affected" of each instruction) and Vol. 1, appendix A. Each row of the table has its effect (`Row.flags`); the native tests take from it what
 * can't be compared.
 */

/** Sets of flags, as bits of EFLAGS. */
export interface FlagEffect {
  readonly read: number;
  readonly written: number;
  readonly undefined: number;
  /** Written or undefined, by the operands: OF of a shift or rotation by another count than 1. */
  readonly perhaps: number;
}

const places: Readonly<Record<string, number>> = { O: 0x800, S: 0x80, Z: 0x40, A: 0x10, P: 4, C: 1 };
const all = 'OSZAPC';

function flagSet(letters: string): number {
  return [...letters].reduce((mask, letter) => mask | (places[letter] ?? 0), 0);
}

/** Groups of instructions with the same effect: read, written, undefined, perhaps. */
const groups: readonly (readonly [string, string, string, string, string])[] = [
  [
    'ADD SUB CMP NEG XADD CMPXCHG CMPS SCAS POPF IRET SYSRET POPCNT RDRAND RDSEED PTEST TESTPS TESTPD',
    '',
    all,
    '',
    '',
  ],
  ['FCOMI FCOMIP FUCOMI FUCOMIP COMISS COMISD UCOMISS UCOMISD', '', all, '', ''],
  ['PCMPESTRM PCMPESTRI PCMPISTRM PCMPISTRI', '', all, '', ''],
  ['ADC SBB', 'C', all, '', ''],
  ['INC DEC', '', 'OSZAP', '', ''],
  ['AND OR XOR TEST', '', 'OSZPC', 'A', ''],
  ['SHL SHR SAR', '', 'SZPC', 'A', 'O'],
  ['SHLD SHRD', '', 'SZPC', 'A', 'O'],
  ['ROL ROR', '', 'C', '', 'O'],
  ['RCL RCR', 'C', 'C', '', 'O'],
  ['MUL IMUL', '', 'OC', 'SZAP', ''],
  ['DIV IDIV', '', '', all, ''],
  ['BSF BSR', '', 'Z', 'OSAPC', ''],
  ['LZCNT TZCNT', '', 'ZC', 'OSAP', ''],
  ['ANDN BLSR BLSMSK BLSI BZHI', '', 'OSZC', 'AP', ''],
  ['BEXTR', '', 'OZC', 'SAP', ''],
  ['ADCX', 'C', 'C', '', ''],
  ['ADOX', 'O', 'O', '', ''],
  ['BT BTS BTR BTC', '', 'C', 'OSAP', ''],
  ['ARPL VERR VERW LAR LSL CMPXCHG8B CMPXCHG16B', '', 'Z', '', ''],
  ['DAA DAS', 'AC', 'SZAPC', 'O', ''],
  ['AAA AAS', 'A', 'AC', 'OSZP', ''],
  ['AAM AAD', '', 'SZP', 'OAC', ''],
  ['SAHF', '', 'SZAPC', '', ''],
  ['LAHF', 'SZAPC', '', '', ''],
  ['PUSHF', all, '', '', ''],
  ['SYSCALL', all, all, '', ''],
  ['CMC', 'C', 'C', '', ''],
  ['CLC STC', '', 'C', '', ''],
  ['SALC', 'C', '', '', ''],
  ['INTO', 'O', '', '', ''],
  ['LOOPE LOOPNE', 'Z', '', '', ''],
  // Conditions: Jcc, SETcc, CMOVcc, FCMOVcc.
  ['JO JNO SETO SETNO CMOVO CMOVNO', 'O', '', '', ''],
  ['JB JNB SETB SETNB CMOVB CMOVNB FCMOVB FCMOVNB', 'C', '', '', ''],
  ['JZ JNZ SETZ SETNZ CMOVZ CMOVNZ FCMOVE FCMOVNE', 'Z', '', '', ''],
  ['JBE JNBE SETBE SETNBE CMOVBE CMOVNBE FCMOVBE FCMOVNBE', 'ZC', '', '', ''],
  ['JS JNS SETS SETNS CMOVS CMOVNS', 'S', '', '', ''],
  ['JP JNP SETP SETNP CMOVP CMOVNP FCMOVU FCMOVNU', 'P', '', '', ''],
  ['JL JNL SETL SETNL CMOVL CMOVNL', 'OS', '', '', ''],
  ['JLE JNLE SETLE SETNLE CMOVLE CMOVNLE', 'OSZ', '', '', ''],
];

const none: FlagEffect = { read: 0, written: 0, undefined: 0, perhaps: 0 };

const effects = new Map<string, FlagEffect>(
  groups.flatMap(([names, read, written, undefinedFlags, perhaps]) => {
    const effect = {
      read: flagSet(read),
      written: flagSet(written),
      undefined: flagSet(undefinedFlags),
      perhaps: flagSet(perhaps),
    };
    return names.split(' ').map((name) => [name, effect] as const);
  }),
);

/** MOV to and from control and debug registers leaves all of them undefined. */
const moveSystemRegister: FlagEffect = { ...none, undefined: flagSet(all) };

/**
 * The effect of an instruction by its name; `operands` is `system` when one of them is a control or debug register, `vector` when one
 * is an XMM register (CMPSD is the name of two instructions).
 */
export function flagEffect(mnemonic: string, operands: 'system' | 'vector' | 'other' = 'other'): FlagEffect {
  if (operands === 'system') return moveSystemRegister;
  if (operands === 'vector' && /^V?CMPS/.test(mnemonic)) return none;
  const known = effects.get(mnemonic.replace(/^(CMPS|SCAS)[BWDQ]$/, '$1'));
  // With a VEX prefix, instructions on vectors do what they do without it.
  return known ?? effects.get(mnemonic.replace(/^V(?!CMPS)/, '')) ?? none;
}
