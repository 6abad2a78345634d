/**
 * Bounds of everything that travels. Both sides know them: whoever makes a text or a list keeps within them, and whoever
 * reads one refuses what is beyond.
 */

/** A frame between nodes, with its code. */
export const maxFrameBytes = 4 << 20;
/** Values (with all that they hold) in one message, and how deep they may lie in each other. */
export const maxMessageValues = 400_000;
export const maxMessageDepth = 32;

/** A text that people read: reasons, messages, hints. Counted in UTF-16 units. */
export const maxText = 500;
/** Of another's words inside such a text: what is said around them has room besides. */
export const maxCause = 250;
export const maxName = 63;
export const maxAddress = 261; // a DNS name of 253, a colon, a port, brackets

export const maxNodes = 256;
export const maxVms = 1000;
export const maxReports = 256;
/** Sessions that could not read one VM's state. */
export const maxUnreadable = 64;
export const maxRuntimes = 64;
export const maxCommandAnswers = 128;
export const maxCommandId = 64;

/** A `VmSpec`, as JSON. */
export const maxSpecBytes = 64 << 10;
/** All VMs of the protected list, as JSON: it goes to every node in one frame. */
export const maxListBytes = 2 << 20;

export const maxNetworks = 64;
/** Ports that one VM publishes, and ports of the host that one network opens to its guests. */
export const maxPublish = 32;
export const maxHostPorts = 16;
/** Addresses that the guest of a fork of a fork may take for its own. */
export const maxFormer = 16;
/** An Ethernet frame with a TCP segment that is not cut yet; frames, and places of VMs, in one message. */
export const maxFrameSize = 65_550;
export const maxFrames = 256;
export const maxPlaces = 1000;

/** Entries of a log in one message to a standby, and spaces of a machine whose pages are summed. */
export const maxFeedEntries = 4096;
export const maxSumSpaces = 64;

/** Body of a request, but for blobs. */
export const maxBodyBytes = 1 << 20;
export const maxBlobBytes = 256 << 20;
/** A disk image that comes through a node. */
export const maxDiskBytes = 16 * 2 ** 30;
export const maxEvents = 10_000;
export const maxEventDetails = 32;
export const maxKeys = 16;
/** Of one VM, in one answer, and pages of one. */
export const maxCheckpoints = 1000;
export const maxPagesAtOnce = 512;

/** That one host offers. */
export const maxImages = 256;
/** Of one VM's figures: ten minutes. */
export const maxSamples = 600;

/** Of one message of a console, either way. */
export const maxConsoleBytes = 64 << 10;
/** Sessions of consoles that a VM's checkpoints remember, and the length of their names. */
export const maxSessions = 64;
export const maxSessionName = 64;
/** Sent by a console and not acknowledged yet. */
export const maxUnacknowledgedBytes = 64 << 10;
/** Messages of a job in a guest: in one frame, which holds no more than that of a console, and sent and not acknowledged yet. */
export const maxJobMessages = 2;
export const maxUnacknowledgedMessages = 512;

/** Of one message of a viewer of a screen, and not acknowledged yet. */
export const maxDisplayEvents = 256;
export const maxUnacknowledgedEvents = 4096;
/** The largest picture, what one frame has of it, and in how many rectangles. */
export const maxDisplaySide = 4096;
export const maxDisplayPixels = 1 << 18;
export const maxDisplayRectangles = 512;

/** A text shortened to what may travel. */
export function bounded(text: string, limit = maxText): string {
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
}
