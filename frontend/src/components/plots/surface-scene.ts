/** The only module that needs three.js, loaded when a surface is opened. One renderer paints all surfaces of the page. */
import {
  AmbientLight,
  BufferAttribute,
  BufferGeometry,
  DirectionalLight,
  DoubleSide,
  Group,
  LineBasicMaterial,
  LineSegments,
  Mesh,
  MeshLambertMaterial,
  PerspectiveCamera,
  Scene,
  Vector3,
  WebGLRenderer,
} from "three";
import type { SurfaceMesh } from "@/maths/surface";

/** Azimuth and polar angle in degrees, distance in widths of the surface. */
export type View = readonly [number, number, number];

export interface SurfaceContent {
  readonly mesh: SurfaceMesh;
  /** Ends of contour lines, three numbers each. */
  readonly lines: Float32Array;
  /** Half the extent across and deep. */
  readonly half: readonly [number, number];
  readonly lineColor: string;
  readonly frameColor: string;
}

/** Projects a place in space to pixels of the picture. */
export type Projection = (x: number, up: number, z: number) => readonly [number, number];

/** Height of the surface's range in widths, before the reader's own factor. */
const HEIGHT = 0.5;
const FIELD_OF_VIEW = 30;

let renderer: WebGLRenderer | undefined;

/** Raises where the browser has no WebGL. */
function sharedRenderer(): WebGLRenderer {
  renderer ??= new WebGLRenderer({ antialias: true, alpha: true });
  return renderer;
}

export class SurfaceScene {
  readonly #scene = new Scene();
  readonly #camera = new PerspectiveCamera(FIELD_OF_VIEW, 1, 0.05, 50);
  readonly #content = new Group();
  #height = HEIGHT;

  constructor() {
    sharedRenderer();
    const sun = new DirectionalLight(0xffffff, 0.45 * Math.PI);
    sun.position.set(-0.6, 1.6, 0.5);
    this.#scene.add(new AmbientLight(0xffffff, 0.72 * Math.PI), sun, this.#content);
  }

  show({ mesh, lines, half, lineColor, frameColor }: SurfaceContent): void {
    this.dispose();
    const surface = new BufferGeometry();
    surface.setAttribute("position", new BufferAttribute(mesh.positions, 3));
    surface.setAttribute("color", new BufferAttribute(mesh.colors, 3));
    surface.setIndex(new BufferAttribute(mesh.indices, 1));
    surface.computeVertexNormals();
    const material = new MeshLambertMaterial({
      ...{ vertexColors: true, side: DoubleSide },
      // Lines on the surface would flicker in and out of it.
      ...{ polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 },
    });
    const contours = new LineBasicMaterial({ color: lineColor, transparent: true, opacity: 0.6 });
    const frame = new LineBasicMaterial({ color: frameColor });
    this.#content.add(
      new Mesh(surface, material),
      new LineSegments(segments(lines), contours),
      new LineSegments(segments(boxEdges(half)), frame),
    );
  }

  look([azimuth, polar, distance]: View, aspect: number, height: number): void {
    const [around, down] = [(azimuth * Math.PI) / 180, (polar * Math.PI) / 180];
    this.#height = HEIGHT * height;
    this.#content.scale.y = this.#height;
    const middle = this.#height / 2;
    // A narrow picture has to be looked at from further away.
    const away = distance * 2.7 * Math.max(1, 1.2 / aspect);
    this.#camera.position.set(
      away * Math.sin(down) * Math.sin(around),
      middle + away * Math.cos(down),
      away * Math.sin(down) * Math.cos(around),
    );
    this.#camera.aspect = aspect;
    this.#camera.lookAt(0, middle, 0);
    this.#camera.updateProjectionMatrix();
    this.#camera.updateMatrixWorld();
  }

  paint(canvas: HTMLCanvasElement, width: number, height: number, ratio: number): void {
    const shared = sharedRenderer();
    const [wide, high] = [Math.max(Math.round(width * ratio), 1), Math.max(Math.round(height * ratio), 1)];
    shared.setSize(wide, high, false);
    shared.render(this.#scene, this.#camera);
    canvas.width = wide;
    canvas.height = high;
    // In the same task: the drawing buffer is cleared when the browser composes the page.
    canvas.getContext("2d")?.drawImage(shared.domElement, 0, 0);
  }

  projection(width: number, height: number): Projection {
    const place = new Vector3();
    return (x, up, z) => {
      place.set(x, up * this.#height, z).project(this.#camera);
      return [((place.x + 1) / 2) * width, ((1 - place.y) / 2) * height];
    };
  }

  dispose(): void {
    for (const child of [...this.#content.children] as (Mesh | LineSegments)[]) {
      child.geometry.dispose();
      for (const material of [child.material].flat()) material.dispose();
      this.#content.remove(child);
    }
  }
}

function segments(ends: Float32Array): BufferGeometry {
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(ends, 3));
  return geometry;
}

/** The frame below the surface, and its four uprights. */
function boxEdges([across, deep]: readonly [number, number]): Float32Array {
  const corners = [
    [-across, -deep],
    [across, -deep],
    [across, deep],
    [-across, deep],
  ] as const;
  return Float32Array.from(
    corners.flatMap(([x, z], index) => {
      const [nextX, nextZ] = corners[(index + 1) % 4] as readonly [number, number];
      return [x, 0, z, nextX, 0, nextZ, x, 0, z, x, 1, z];
    }),
  );
}
