/** The part of the debugger that needs Node: gdb's remote protocol over a socket. */
export { serveGdb, type GdbServer, type ServeOptions } from './serve.ts';
