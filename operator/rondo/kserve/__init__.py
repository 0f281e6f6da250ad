"""KServe's manifests as Rondo's: InferenceGraphs and InferenceServices read, and what they become.

Pure: values in, values out. `rondo import kserve` reads the files and writes what comes of them.
"""
