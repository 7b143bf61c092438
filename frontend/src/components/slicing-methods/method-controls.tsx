import type { ComponentType } from "react";
import { useSliceData } from "@/contexts/slice-data-context";
import { GEOMETRIES, type Geometry } from "@/lib/slice";
import { CurveControls } from "./curve-controls";
import { FamilyControls } from "./family-controls";
import { GridControls } from "./grid-controls";

const CONTROLS: Readonly<Record<Geometry, ComponentType>> = {
  curve: CurveControls,
  curves: FamilyControls,
  grid: GridControls,
};

/** The controls of the geometries that are on the page. */
export function MethodControls() {
  const { cards } = useSliceData();
  return GEOMETRIES.filter((geometry) => cards.some((card) => card.geometry === geometry)).map((geometry) => {
    const Controls = CONTROLS[geometry];
    return <Controls key={geometry} />;
  });
}
