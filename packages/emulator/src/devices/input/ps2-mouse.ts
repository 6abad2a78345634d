/**
 * PS/2 mouse with wheel (IntelliMouse protocol), as a part of the i8042 device. Reference: PS/2 Hardware Interface Technical
 * Reference, "Mouse"; the wheel is unlocked by setting the sample rates 200, 100, 80.
 */
import { bool, integer, list, nullable, record, tuple, u8, type Infer } from '../schema.ts';

const queueBytes = 32;
/** With the wheel. */
const longestPacket = 4;
// prettier-ignore
const Command = {
  scaling1: 0xe6, scaling2: 0xe7, resolution: 0xe8, status: 0xe9, streamMode: 0xea, read: 0xeb, resetWrap: 0xec, wrapMode: 0xee,
  remoteMode: 0xf0, identify: 0xf2, sampleRate: 0xf3, enable: 0xf4, disable: 0xf5, defaults: 0xf6, resend: 0xfe, reset: 0xff,
} as const;
const acknowledge = 0xfa;

export const mouseSchema = record({
  queue: list(u8, queueBytes),
  reporting: bool,
  remote: bool,
  wrap: bool,
  scaling2: bool,
  resolution: u8,
  sampleRate: u8,
  lastRates: tuple(u8, 3),
  wheel: bool,
  buttons: integer(0, 7),
  dx: integer(-32768, 32767),
  dy: integer(-32768, 32767),
  dz: integer(-128, 127),
  parameterOf: nullable(u8),
});
export type MouseState = Infer<typeof mouseSchema>;

export function mousePowerOn(): MouseState {
  return {
    queue: [],
    reporting: false,
    remote: false,
    wrap: false,
    scaling2: false,
    resolution: 2,
    sampleRate: 100,
    lastRates: [0, 0, 0],
    wheel: false,
    buttons: 0,
    dx: 0,
    dy: 0,
    dz: 0,
    parameterOf: null,
  };
}

function reply(m: MouseState, ...bytes: number[]): void {
  if (m.queue.length + bytes.length <= queueBytes) m.queue.push(...bytes);
}

/** A byte from the system to the mouse. */
export function mouseCommand(m: MouseState, value: number): void {
  if (m.parameterOf !== null) {
    const command = m.parameterOf;
    m.parameterOf = null;
    reply(m, acknowledge);
    if (command === Command.resolution) m.resolution = value & 3;
    else setSampleRate(m, value);
    return;
  }
  if (m.wrap && value !== Command.reset && value !== Command.resetWrap) {
    reply(m, value);
    return;
  }
  reply(m, acknowledge);
  switch (value) {
    case Command.resolution:
    case Command.sampleRate:
      m.parameterOf = value;
      return;
    case Command.scaling1:
    case Command.scaling2:
      m.scaling2 = value === Command.scaling2;
      return;
    case Command.status:
      reply(
        m,
        (m.remote ? 0x40 : 0) | (m.reporting ? 0x20 : 0) | (m.scaling2 ? 0x10 : 0) | statusButtons(m.buttons),
        m.resolution,
        m.sampleRate,
      );
      return;
    case Command.streamMode:
    case Command.remoteMode:
      m.remote = value === Command.remoteMode;
      return;
    case Command.wrapMode:
    case Command.resetWrap:
      m.wrap = value === Command.wrapMode;
      return;
    case Command.read:
      sendPacket(m);
      return;
    case Command.identify:
      reply(m, m.wheel ? 3 : 0);
      return;
    case Command.enable:
    case Command.disable:
      m.reporting = value === Command.enable;
      return;
    case Command.defaults:
    case Command.reset: {
      const queue = m.queue;
      Object.assign(m, mousePowerOn(), { queue });
      if (value === Command.reset) reply(m, 0xaa, 0x00);
      return;
    }
    default:
  }
}

/** In a status reply the left button is bit 2 and the right one bit 0. */
function statusButtons(buttons: number): number {
  return ((buttons & 1) << 2) | ((buttons >> 1) & 1) | ((buttons >> 1) & 2);
}

function setSampleRate(m: MouseState, rate: number): void {
  m.sampleRate = rate;
  m.lastRates = [m.lastRates[1] ?? 0, m.lastRates[2] ?? 0, rate];
  if (m.lastRates.join() === '200,100,80') m.wheel = true;
}

const clamp = (value: number, limit: number): number =>
  Math.max(-limit, Math.min(limit - 1, Math.trunc(value)));

export interface MouseMove {
  /** Counts to the right, up and towards the user. */
  dx: number;
  dy: number;
  dz: number;
  /** Bit 0 left, 1 right, 2 middle. */
  buttons: number;
}

export function mouseMove(m: MouseState, move: MouseMove): void {
  m.dx = clamp(m.dx + move.dx, 0x8000);
  m.dy = clamp(m.dy + move.dy, 0x8000);
  m.dz = clamp(m.dz + move.dz, 0x80);
  m.buttons = move.buttons & 7;
  if (m.reporting && !m.remote) sendPacket(m);
}

/** Whether the next movement can be told at once: what finds no room is added to the one after, but a click would be lost. */
export function mouseHasRoom(m: MouseState): boolean {
  return !m.reporting || m.remote || m.queue.length + longestPacket <= queueBytes;
}

function sendPacket(m: MouseState): void {
  const size = m.wheel ? 4 : 3;
  if (m.queue.length + size > queueBytes) return;
  const dx = clamp(m.dx, 256);
  const dy = clamp(m.dy, 256);
  m.queue.push(8 | m.buttons | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0), dx & 0xff, dy & 0xff);
  if (m.wheel) m.queue.push(clamp(m.dz, 8) & 0xff);
  m.dx -= dx;
  m.dy -= dy;
  m.dz = 0;
}
