"""Galleries in a Milvus server, or in a file of Milvus Lite, that every process of a service shares."""
