#!/usr/bin/env node
// The whole program starts in src/cli/entry.ts.
import '../dist/app/entry.js';
