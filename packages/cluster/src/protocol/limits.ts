// Bounds of everything that travels. Both sides know them: whoever makes a text or a list keeps within them, and whoever
// reads one refuses what is beyond.

/** A frame between nodes, with its code. */
export const MAX_FRAME_BYTES = 4 << 20;
/** Values (with all that they hold) in one message, and how deep they may lie in each other. */
export const MAX_VALUES = 400_000;
export const MAX_DEPTH = 32;

/** A text that people read: reasons, messages, hints. Counted in UTF-16 units. */
export const MAX_TEXT = 500;
/** Of another's words inside such a text: what is said around them has room besides. */
export const MAX_CAUSE = 250;
export const MAX_NAME = 63;
export const MAX_ADDRESS = 261; // a DNS name of 253, a colon, a port, brackets

export const MAX_NODES = 256;
export const MAX_VMS = 1000;
export const MAX_REPORTS = 256;
/** Sessions that could not read one VM's state. */
export const MAX_UNREADABLE = 64;
export const MAX_RUNTIMES = 64;
export const MAX_COMMAND_ANSWERS = 128;
export const MAX_COMMAND_ID = 64;

/** A `VmSpec`, as JSON. */
export const MAX_SPEC_BYTES = 64 << 10;
/** All VMs of the protected list, as JSON: it goes to every node in one frame. */
export const MAX_LIST_BYTES = 2 << 20;

export const MAX_NETWORKS = 64;
/** Ports that one VM publishes, and ports of the host that one network opens to its guests. */
export const MAX_PUBLISH = 32;
export const MAX_HOST_PORTS = 16;
/** An Ethernet frame with a TCP segment that is not cut yet; frames, and places of VMs, in one message. */
export const MAX_FRAME_SIZE = 65_550;
export const MAX_FRAMES = 256;
export const MAX_PLACES = 1000;

/** Entries of a log in one message to a standby, and spaces of a machine whose pages are summed. */
export const MAX_FEED_ENTRIES = 4096;
export const MAX_SUM_SPACES = 64;

/** Body of a request, but for blobs. */
export const MAX_BODY_BYTES = 1 << 20;
export const MAX_BLOB_BYTES = 256 << 20;
export const MAX_EVENTS = 10_000;
export const MAX_EVENT_DETAILS = 32;
export const MAX_KEYS = 16;
/** Of one VM, in one answer, and pages of one. */
export const MAX_CHECKPOINTS = 1000;
export const MAX_PAGES_AT_ONCE = 512;

/** That one host offers. */
export const MAX_IMAGES = 256;
/** Of one VM's figures: ten minutes. */
export const MAX_SAMPLES = 600;

/** Of one message of a console, either way. */
export const MAX_CONSOLE_BYTES = 64 << 10;
/** Sessions of consoles that a VM's checkpoints remember, and the length of their names. */
export const MAX_SESSIONS = 64;
export const MAX_SESSION_NAME = 64;
/** Sent by a console and not acknowledged yet. */
export const MAX_UNACKNOWLEDGED_BYTES = 64 << 10;
/** Messages of a job in a guest: in one frame, which holds no more than that of a console, and sent and not acknowledged yet. */
export const MAX_JOB_MESSAGES = 2;
export const MAX_UNACKNOWLEDGED_MESSAGES = 512;

/** Of one message of a viewer of a screen, and not acknowledged yet. */
export const MAX_DISPLAY_EVENTS = 256;
export const MAX_UNACKNOWLEDGED_EVENTS = 4096;
/** The largest picture, what one frame has of it, and in how many rectangles. */
export const MAX_DISPLAY_SIDE = 4096;
export const MAX_DISPLAY_PIXELS = 1 << 18;
export const MAX_DISPLAY_RECTANGLES = 512;

/** A text shortened to what may travel. */
export function bounded(text: string, limit = MAX_TEXT): string {
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
}
