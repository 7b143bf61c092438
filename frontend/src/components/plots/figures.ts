/** Figures that draw only what is in sight: how they draw all of it while a picture is taken. */

/** Draws everything, and gives back what returns to the usual. */
export type Preparation = () => Promise<() => void>;

const preparations = new WeakMap<Element, Preparation>();

export function setPreparation(element: Element, prepare: Preparation): void {
  preparations.set(element, prepare);
}

/** Takes a picture while every figure below the element is drawn whole. */
export async function prepared<T>(element: Element, take: () => Promise<T>): Promise<T> {
  const found = [...element.querySelectorAll("[data-figure-part]")].flatMap(
    (part) => preparations.get(part) ?? [],
  );
  const restores = await Promise.all(found.map((prepare) => prepare()));
  try {
    return await take();
  } finally {
    for (const restore of restores) restore();
  }
}
