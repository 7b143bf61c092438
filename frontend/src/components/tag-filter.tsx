import { Search } from "lucide-react";
import { Input } from "@/components/ui/input";
import { useSliceData } from "@/contexts/slice-data-context";
import { isRegularExpression } from "@/lib/pattern";

export function TagFilter() {
  const { view, change } = useSliceData();
  const valid = isRegularExpression(view.filter);
  return (
    <div className="relative w-full sm:w-56 sm:shrink-0">
      <Search className="-translate-y-1/2 pointer-events-none absolute top-1/2 left-2.5 size-4 text-muted-foreground" />
      <Input
        type="search"
        className="pl-8"
        aria-label="Filter tags"
        aria-invalid={!valid}
        placeholder="Filter tags (pattern)"
        title={valid ? undefined : "Not a regular expression: taken as plain text"}
        value={view.filter}
        onChange={(event) => change({ filter: event.target.value })}
      />
    </div>
  );
}
