"""Training on the graph: losses, the loop, checkpoints, distillation, compression, stages. Needs `netwright[train]`."""
