import { createContext, type ReactNode, use } from "react";
import { type PlotTheme, plotTheme } from "@/components/plots/theme";
import { useDark } from "@/hooks/use-dark";

const ThemeContext = createContext<PlotTheme>(plotTheme(false));

/** TensorBoard's light or dark, for everything that is drawn rather than styled. */
export function ThemeProvider({ children }: { readonly children: ReactNode }) {
  return <ThemeContext value={plotTheme(useDark())}>{children}</ThemeContext>;
}

export function usePlotTheme(): PlotTheme {
  return use(ThemeContext);
}
