import { CopyBlock } from "@/components/ui/copy-block";

const COMMAND = "loss-slicer run --checkpoints DIR --method random2d --logdir LOGDIR";

const SNIPPET = `from pysclice.core import ModelWrapper
from pysclice.slicers import RandomDirectionSlicer
from tensorboard_loss_slicer.summary_v2 import log_slice

wrapper = ModelWrapper(model=model, loss_fn=loss_fn, train_data=train_loader)
slicer = RandomDirectionSlicer(wrapper)
grid = slicer.slice_2d(center_point=wrapper.get_parameters(), grid_size=25, range=(-0.5, 0.5))
log_slice(name="landscape_2d", slice_data=grid, step=epoch)`;

/** What to do when the log holds no slice. */
export function EmptyState() {
  return (
    <div className="mx-auto max-w-2xl px-4 py-16" data-testid="empty">
      <h1 className="font-medium text-lg">No loss slices in this log yet</h1>
      <p className="mt-2 text-muted-foreground text-sm leading-[1.7]">
        A slice shows the loss around a checkpoint, along one or two directions. They appear here by
        themselves once they are in the log directory that TensorBoard reads.
      </p>
      <h2 className="mt-6 mb-1 font-medium text-sm">From saved checkpoints</h2>
      <CopyBlock text={COMMAND} label="Copy the command" />
      <p className="mt-1 text-muted-foreground text-xs leading-[1.6]">
        DIR is the folder with the checkpoints, LOGDIR the one that TensorBoard was started with.
      </p>
      <h2 className="mt-6 mb-1 font-medium text-sm">From a training loop</h2>
      <CopyBlock text={SNIPPET} label="Copy the code" />
    </div>
  );
}
