/** The slice types of the log: their names for people. The geometry, not the type, decides how they are drawn. */
const LABELS: Readonly<Record<string, string>> = {
  linear_interpolation: "Linear interpolation",
  axis_parallel: "Axis parallel",
  random_direction_2d: "Random directions (2-D)",
  random_direction_1d: "Random direction (1-D)",
  layer_directions: "Layer directions",
  pca_2d: "Principal components",
  hessian_1d: "Hessian direction (1-D)",
  hessian_2d: "Hessian directions (2-D)",
  gradient_1d: "Gradient direction",
  plane: "Plane through checkpoints",
  bezier_curve: "Low-loss curve",
  custom: "Custom directions",
};

/** Shown even where the log has none, so that people see what there is to log. */
export const MAIN_METHODS: readonly string[] = [
  "linear_interpolation",
  "axis_parallel",
  "random_direction_2d",
];

export const METHOD_ORDER: readonly string[] = Object.keys(LABELS);

export function methodLabel(sliceType: string): string {
  return Object.hasOwn(LABELS, sliceType) ? (LABELS[sliceType] ?? sliceType) : sliceType.replaceAll("_", " ");
}
