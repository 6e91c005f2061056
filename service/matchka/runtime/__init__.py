"""The process itself: deadlines, load, connections, memory and its data folder."""
