// Loaded when the first request is sent. A file of its own, as the names of a CommonJS package are lost when the bundler
// makes a chunk of the package itself.
export { Agent, buildConnector, type Dispatcher } from 'undici';
