/** What TensorBoard's frame and the entry module do, for `npm run dev`. */
import { render } from "./page";
import { start } from "./start";

render(start());
