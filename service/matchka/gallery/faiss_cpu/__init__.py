"""A gallery in memory, searched by FAISS on the CPU: exactly, or in two stages."""
