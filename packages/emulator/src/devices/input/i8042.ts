/**
 * Intel 8042 keyboard controller of a PC/AT and PS/2, with a keyboard and a mouse on its ports.
 * Reference: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".
 */
import { StatefulDevice, type A20Gate, type AccessSize, type Line } from '../device.ts';
import {
  keyboardCommand,
  keyboardHasRoom,
  keyboardKey,
  keyboardPowerOn,
  keyboardSchema,
  translateSet2,
} from './ps2-keyboard.ts';
import {
  mouseCommand,
  mouseHasRoom,
  mouseMove,
  mousePowerOn,
  mouseSchema,
  type MouseMove,
} from './ps2-mouse.ts';
import { bool, bytes, defineState, list, nullable, oneOf, record, u8, type Infer } from '../schema.ts';

const Port = { data: 0x60, command: 0x64 } as const;
const Status = { outputFull: 1, systemFlag: 4, commandWritten: 8, unlocked: 0x10, auxData: 0x20 } as const;
const CommandByte = {
  keyboardIrq: 1,
  auxIrq: 2,
  systemFlag: 4,
  keyboardOff: 0x10,
  auxOff: 0x20,
  translate: 0x40,
} as const;
const OutputPort = { notReset: 1, a20: 2, keyboardFull: 0x10, auxFull: 0x20 } as const;

const schema = record({
  commandByte: u8,
  ram: bytes(32),
  lastWriteCommand: bool,
  /** Controller command whose parameter comes next through port 0x60. */
  parameterOf: nullable(u8),
  output: nullable(u8),
  outputSource: oneOf('controller', 'keyboard', 'aux'),
  /** Bytes of the controller itself that wait behind the output buffer. */
  queue: list(record({ value: u8, aux: bool }), 16),
  /** The translator has seen 0xf0: the next code is a break code. */
  breakPrefix: bool,
  keyboard: keyboardSchema,
  mouse: mouseSchema,
});
type State = Infer<typeof schema>;
const definition = defineState<State>({ name: 'i8042', version: 1, schema });

function powerOn(): State {
  return {
    commandByte: CommandByte.keyboardIrq | CommandByte.systemFlag | CommandByte.translate,
    ram: new Uint8Array(32),
    lastWriteCommand: false,
    parameterOf: null,
    output: null,
    outputSource: 'controller',
    queue: [],
    breakPrefix: false,
    keyboard: keyboardPowerOn(),
    mouse: mousePowerOn(),
  };
}

export interface I8042Options {
  keyboardIrq: Line;
  mouseIrq: Line;
  a20: A20Gate;
  /** Pulls the processor's reset line. */
  resetSystem: () => void;
}

export class I8042 extends StatefulDevice<State> {
  readonly name = 'i8042';
  readonly ports = [
    { first: Port.data, last: Port.data },
    { first: Port.command, last: Port.command },
  ];
  readonly #options: I8042Options;

  constructor(options: I8042Options) {
    super(definition, powerOn);
    this.#options = options;
  }

  /** A key by its DOM code; returns false for an unknown one. */
  key(code: string, pressed: boolean): boolean {
    const known = keyboardKey(this.state.keyboard, code, pressed);
    this.#fill();
    return known;
  }

  /** Whether a key, or a movement of the mouse, will not be lost. */
  hasRoom(of: 'key' | 'mouse'): boolean {
    return of === 'key' ? keyboardHasRoom(this.state.keyboard) : mouseHasRoom(this.state.mouse);
  }

  moveMouse(move: MouseMove): void {
    mouseMove(this.state.mouse, move);
    this.#fill();
  }

  /** Keyboard LEDs: bit 0 scroll, 1 num, 2 caps. */
  get leds(): number {
    return this.state.keyboard.leds;
  }

  /** Takes the next byte into the output buffer: the controller's own first, then keyboard, then mouse. */
  #fill(): void {
    const state = this.state;
    while (state.output === null) {
      const own = state.queue.shift();
      if (own !== undefined) {
        state.output = own.value;
        state.outputSource = own.aux ? 'aux' : 'controller';
      } else if (!(state.commandByte & CommandByte.keyboardOff) && state.keyboard.queue.length > 0) {
        this.#takeKeyboardByte(state.keyboard.queue.shift() ?? 0);
      } else if (!(state.commandByte & CommandByte.auxOff) && state.mouse.queue.length > 0) {
        state.output = state.mouse.queue.shift() ?? 0;
        state.outputSource = 'aux';
      } else break;
    }
    this.#drive();
  }

  #takeKeyboardByte(byte: number): void {
    const state = this.state;
    state.keyboard.lastByte = byte;
    let value = byte;
    if (state.commandByte & CommandByte.translate) {
      if (byte === 0xf0) {
        state.breakPrefix = true;
        return;
      }
      value = translateSet2[byte] ?? byte;
      if (state.breakPrefix) value |= 0x80;
      state.breakPrefix = false;
    }
    state.output = value;
    state.outputSource = 'keyboard';
  }

  #drive(): void {
    const { output, outputSource, commandByte } = this.state;
    const full = output !== null;
    const aux = outputSource === 'aux';
    this.#options.keyboardIrq.set(full && !aux && (commandByte & CommandByte.keyboardIrq) !== 0);
    this.#options.mouseIrq.set(full && aux && (commandByte & CommandByte.auxIrq) !== 0);
  }

  #reply(value: number, aux = false): void {
    if (this.state.queue.length < 16) this.state.queue.push({ value, aux });
    this.#fill();
  }

  readPort(port: number, _size: AccessSize): number {
    if (port === Port.command) return this.#status();
    const value = this.state.output ?? this.state.ram[31] ?? 0;
    if (this.state.output !== null) {
      this.state.ram[31] = value; // the buffer keeps its last byte
      this.state.output = null;
      this.#drive(); // the line falls, so that the next byte makes a new edge
      this.#fill();
    }
    return value;
  }

  #status(): number {
    const { output, outputSource, commandByte, lastWriteCommand } = this.state;
    return (
      Status.unlocked |
      (output !== null ? Status.outputFull | (outputSource === 'aux' ? Status.auxData : 0) : 0) |
      (commandByte & CommandByte.systemFlag ? Status.systemFlag : 0) |
      (lastWriteCommand ? Status.commandWritten : 0)
    );
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    this.state.lastWriteCommand = port === Port.command;
    if (port === Port.command) this.#command(value);
    else this.#data(value);
  }

  #data(value: number): void {
    const state = this.state;
    const command = state.parameterOf;
    state.parameterOf = null;
    if (command === null) {
      state.commandByte &= ~CommandByte.keyboardOff; // sending to the keyboard enables its interface
      keyboardCommand(state.keyboard, value);
    } else if (command >= 0x60 && command < 0x80) this.#writeRam(command & 31, value);
    else if (command === 0xd1) this.#writeOutputPort(value);
    else if (command === 0xd2) this.#putBack(value, false);
    else if (command === 0xd3) this.#putBack(value, true);
    else if (command === 0xd4) {
      state.commandByte &= ~CommandByte.auxOff;
      mouseCommand(state.mouse, value);
    }
    this.#fill();
  }

  #putBack(value: number, aux: boolean): void {
    this.#reply(value, aux);
  }

  #writeRam(index: number, value: number): void {
    if (index === 0) this.state.commandByte = value;
    else this.state.ram[index] = value;
  }

  #writeOutputPort(value: number): void {
    this.#options.a20.set((value & OutputPort.a20) !== 0);
    if (!(value & OutputPort.notReset)) this.#options.resetSystem();
  }

  #command(value: number): void {
    const state = this.state;
    state.parameterOf = null;
    if (value >= 0x20 && value < 0x40) {
      this.#reply(value === 0x20 ? state.commandByte : (state.ram[value & 31] ?? 0));
      return;
    }
    if ((value >= 0x60 && value < 0x80) || (value >= 0xd1 && value <= 0xd4)) {
      state.parameterOf = value;
      return;
    }
    switch (value) {
      case 0xa7: // disable the auxiliary interface
        state.commandByte |= CommandByte.auxOff;
        break;
      case 0xa8:
        state.commandByte &= ~CommandByte.auxOff;
        break;
      case 0xa9: // interface tests: no error
      case 0xab:
        this.#reply(0);
        break;
      case 0xaa: // controller self-test
        state.commandByte |= CommandByte.systemFlag;
        this.#reply(0x55);
        break;
      case 0xad:
        state.commandByte |= CommandByte.keyboardOff;
        break;
      case 0xae:
        state.commandByte &= ~CommandByte.keyboardOff;
        break;
      case 0xc0: // input port: keyboard not locked
        this.#reply(0x80);
        break;
      case 0xd0:
        this.#reply(this.#outputPort());
        break;
      case 0xdd: // A20 off and on, as some chipsets have it
      case 0xdf:
        this.#options.a20.set(value === 0xdf);
        break;
      default: // 0xf0-0xff: pulse output bits that are 0; bit 0 is the reset line
        if (value >= 0xf0 && !(value & 1)) this.#options.resetSystem();
    }
    this.#fill();
  }

  #outputPort(): number {
    const { output, outputSource } = this.state;
    return (
      OutputPort.notReset |
      (this.#options.a20.enabled ? OutputPort.a20 : 0) |
      (output !== null ? (outputSource === 'aux' ? OutputPort.auxFull : OutputPort.keyboardFull) : 0)
    );
  }

  protected override stateChanged(): void {
    this.#drive();
  }
}
