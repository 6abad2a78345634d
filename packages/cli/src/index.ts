/** The command line has no interface for programs: other packages start it as a process. */
export {};
