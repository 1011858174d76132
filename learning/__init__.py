"""What makes the next model: snapshots, selection, training, gates and export."""
