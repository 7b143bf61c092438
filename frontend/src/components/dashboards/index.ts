import type { ComponentType } from "react";
import type { Geometry } from "@/lib/slice";
import { AxisParallelDashboard } from "./axis-parallel-dashboard";
import type { DashboardProps } from "./dashboard";
import { LinearInterpolationDashboard } from "./linear-interpolation-dashboard";
import { RandomDirectionDashboard } from "./random-direction-dashboard";

/** Geometry → the view that draws it: a method that is logged with a known geometry needs no view of its own. */
export const DASHBOARDS: Readonly<Record<Geometry, ComponentType<DashboardProps>>> = {
  curve: LinearInterpolationDashboard,
  curves: AxisParallelDashboard,
  grid: RandomDirectionDashboard,
};
