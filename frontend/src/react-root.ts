/**
 * React's renderer, in a script of its own: it can be read while the page's larger one is on its way. It makes errors
 * when it is first run, for which a browser that is being debugged reads the script that runs it once more.
 */
export { createRoot } from "react-dom/client";
