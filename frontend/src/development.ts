/** What TensorBoard's frame does, for `npm run dev`. */
import { render } from "./index";

render();
