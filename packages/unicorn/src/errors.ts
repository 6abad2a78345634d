/** What goes wrong, by Unicorn's codes. */
import * as code from './generated/unicorn.ts';

const meanings: Readonly<Record<number, string>> = {
  [code.UC_ERR_OK]: 'nothing went wrong (UC_ERR_OK)',
  [code.UC_ERR_NOMEM]: 'no memory is left, or none is mapped there (UC_ERR_NOMEM)',
  [code.UC_ERR_ARCH]: 'there is no such architecture here: only x86 (UC_ERR_ARCH)',
  [code.UC_ERR_HANDLE]: 'this emulator has been closed (UC_ERR_HANDLE)',
  [code.UC_ERR_MODE]: 'there is no such mode: 16, 32 or 64 bits, little-endian (UC_ERR_MODE)',
  [code.UC_ERR_VERSION]: 'versions do not fit (UC_ERR_VERSION)',
  [code.UC_ERR_READ_UNMAPPED]: 'a read of memory that is not mapped (UC_ERR_READ_UNMAPPED)',
  [code.UC_ERR_WRITE_UNMAPPED]: 'a write to memory that is not mapped (UC_ERR_WRITE_UNMAPPED)',
  [code.UC_ERR_FETCH_UNMAPPED]: 'a jump to memory that is not mapped (UC_ERR_FETCH_UNMAPPED)',
  [code.UC_ERR_HOOK]: 'there is no such hook (UC_ERR_HOOK)',
  [code.UC_ERR_INSN_INVALID]: 'an undefined instruction (UC_ERR_INSN_INVALID)',
  [code.UC_ERR_MAP]: 'the memory is mapped already, or still is not (UC_ERR_MAP)',
  [code.UC_ERR_WRITE_PROT]: 'a write to memory without UC_PROT_WRITE (UC_ERR_WRITE_PROT)',
  [code.UC_ERR_READ_PROT]: 'a read of memory without UC_PROT_READ (UC_ERR_READ_PROT)',
  [code.UC_ERR_FETCH_PROT]: 'a jump to memory without UC_PROT_EXEC (UC_ERR_FETCH_PROT)',
  [code.UC_ERR_ARG]: 'an argument has no meaning here (UC_ERR_ARG)',
  [code.UC_ERR_READ_UNALIGNED]: 'a read that is not aligned (UC_ERR_READ_UNALIGNED)',
  [code.UC_ERR_WRITE_UNALIGNED]: 'a write that is not aligned (UC_ERR_WRITE_UNALIGNED)',
  [code.UC_ERR_FETCH_UNALIGNED]: 'a jump that is not aligned (UC_ERR_FETCH_UNALIGNED)',
  [code.UC_ERR_HOOK_EXIST]: 'the hook exists already (UC_ERR_HOOK_EXIST)',
  [code.UC_ERR_RESOURCE]: 'not enough of a resource (UC_ERR_RESOURCE)',
  [code.UC_ERR_EXCEPTION]: 'an exception or interrupt that no hook takes (UC_ERR_EXCEPTION)',
};

/** What an error code means, with its name. */
export function strerror(errno: number): string {
  return meanings[errno] ?? `there is no error ${String(errno)}`;
}

/** Thrown by whatever fails; `errno` is one of UC_ERR_. */
export class UnicornError extends Error {
  readonly errno: number;

  constructor(errno: number, what: string) {
    super(`${what}: ${strerror(errno)}`);
    this.name = 'UnicornError';
    this.errno = errno;
  }
}

export function badArgument(what: string): UnicornError {
  return new UnicornError(code.UC_ERR_ARG, what);
}
