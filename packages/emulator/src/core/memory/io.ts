/** Port I/O: SDM Vol. 1 chapter 19. Cpu.remaining is exact (I/O instructions end their block). */
import {
  Cpu_cpl,
  Cpu_exact,
  HostDuty_ports,
  SegmentField_attributes,
  SegmentField_base,
  SegmentField_limit,
  Segment_tr,
  Tlb_supervisorRead,
} from '../generated/layout';
import { checkIoBreakpoints } from '../events/debug';
import { generalProtection, retryExactly } from '../events/fault';
import { hostHas } from '../events/hosted';
import { ioRead, ioReadBlock, ioWrite, ioWriteBlock } from '../host';
import { readView } from './memory';
import { ioPrivilege, protectedMode, segmentAt, v86Mode } from '../state';

/** #GP(0) unless IOPL allows the ports, or the I/O permission bitmap of a 32-bit (64-bit) TSS does. */
export function checkPorts(cpu: i32, port: i32, size: i32): void {
  if (!protectedMode(cpu)) return;
  if (!v86Mode(cpu) && load<i32>(cpu, Cpu_cpl) <= ioPrivilege(cpu)) return;
  const tr = segmentAt(cpu, Segment_tr);
  const limit = load<u32>(tr, SegmentField_limit);
  if ((load<i32>(tr, SegmentField_attributes) & 8) == 0 || limit < 103) generalProtection(cpu, 0);
  const base = load<i64>(tr, SegmentField_base);
  const at: u32 = (readView<u16>(cpu, base + 102, Tlb_supervisorRead) as u32) + ((port as u32) >> 3);
  // Two bytes are always read, so the last byte of the bitmap must be followed by one of ones.
  if (at + 1 > limit) generalProtection(cpu, 0);
  const bits = (readView<u16>(cpu, base + at, Tlb_supervisorRead) as i32) >> (port & 7);
  if ((bits & ((1 << size) - 1)) != 0) generalProtection(cpu, 0);
}

/** HostDuty.ports. */
function aloneForHost(cpu: i32): void {
  if (hostHas(HostDuty_ports) && load<i32>(cpu, Cpu_exact) == 0) retryExactly(cpu);
}

/** IN: `size` 1, 2 or 4; the result is zero-extended. */
export function portIn(cpu: i32, port: i32, size: i32): i32 {
  checkPorts(cpu, port & 0xffff, size);
  checkIoBreakpoints(cpu, port & 0xffff, size);
  aloneForHost(cpu);
  const value = ioRead(port & 0xffff, size);
  return size == 1 ? value & 0xff : size == 2 ? value & 0xffff : value;
}

/** OUT. */
export function portOut(cpu: i32, port: i32, size: i32, value: i32): void {
  checkPorts(cpu, port & 0xffff, size);
  checkIoBreakpoints(cpu, port & 0xffff, size);
  aloneForHost(cpu);
  ioWrite(port & 0xffff, size, size == 1 ? value & 0xff : size == 2 ? value & 0xffff : value);
}

/** How many of `count` items a device gives to linear memory at once (host.ts); the ports have been checked. Iterations that may trap don't come here. */
export function portsIn(port: i32, size: i32, target: u32, count: i32): i32 {
  return hostHas(HostDuty_ports) ? 0 : ioReadBlock(port, size, target, count);
}

/** How many of `count` items a device takes from linear memory at once. */
export function portsOut(port: i32, size: i32, source: u32, count: i32): i32 {
  return hostHas(HostDuty_ports) ? 0 : ioWriteBlock(port, size, source, count);
}
