export { serveGdb, type GdbServer, type ServeOptions } from './serve.ts';
