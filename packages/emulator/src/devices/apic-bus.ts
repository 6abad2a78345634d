/** Messages between I/O APICs and local APICs (SDM Vol. 3A 11.1), which know each other by these only. */

export interface ApicMessage {
  deliveryMode: number;
  vector: number;
  level: boolean;
  /** Edge (false) or level triggered. */
  levelTriggered: boolean;
}

/** Where a message is sent. */
export interface ApicMessageBus {
  /** Logical or physical destination (8-bit xAPIC ids). Returns false when nobody accepted. */
  send(message: ApicMessage, destination: { id: number; logical: boolean }): boolean;
}
