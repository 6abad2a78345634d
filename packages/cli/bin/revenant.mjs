#!/usr/bin/env node
/** The command `revenant`: everything goes through the launcher, which finds the right Node first. */
import { main } from '../../../launcher.mjs';

main(process.argv.slice(2));
