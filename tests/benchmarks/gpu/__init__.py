"""What `gpu.sh` measures, step by step: `python -m tests.benchmarks.gpu STEP`, each step a process of its own.

Without CUDA the same code runs on tiny shapes (a dry run), so that it is known to run before it meets a GPU.
"""
