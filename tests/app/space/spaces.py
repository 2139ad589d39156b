"""Stands in for the package `spaces` of a Hugging Face Space, as far as an app can tell.

A decorated generator runs in a fork of the process, on a new thread, with pickled arguments and results; of an
exception only the name comes back. This process has no GPU, though torch says so. Two things are made to measure: a
slice of training ends after one epoch, so that a few seconds are several slices, and `ZERO_GPU_QUOTA` holds the
visitor's seconds.
"""

import functools
import multiprocessing
import os
import sys
import threading

ZERO_GPU = os.environ.get("SPACES_ZERO_GPU") == "true"

if "gradio" in sys.modules and not hasattr(sys.modules["gradio"], "Blocks"):
    raise ImportError("gradio tries on its way whether this package is there")
if ZERO_GPU and "torch" in sys.modules:
    raise RuntimeError("spaces has to be imported before torch")


def gradio_auto_wrap(function):
    return function  # gradio calls this for every handler of a Space


if ZERO_GPU:
    import gradio
    import torch

    is_available = torch.cuda.is_available
    torch.cuda.is_available = lambda: True
    fork = multiprocessing.get_context("fork")
    left = int(os.environ["ZERO_GPU_QUOTA"])


def GPU(*, duration):
    return functools.partial(in_workers, duration=duration) if ZERO_GPU else lambda task: task


def in_workers(task, duration):
    task.__globals__["TRAIN_SECONDS"] = 0

    @functools.wraps(task)
    def handler(*args, **kwargs):
        global left
        if duration > left:
            message = f"You have exceeded your free ZeroGPU quota ({duration}s requested vs. {left}s left)."
            raise gradio.Error(message, print_exception=False)
        left -= duration
        arguments, results, stop = fork.SimpleQueue(), fork.SimpleQueue(), fork.Event()
        worker = fork.Process(target=work, args=(task, arguments, results, stop), daemon=True)
        worker.start()
        arguments.put((args, kwargs))
        try:
            while (result := results.get())[0] == "value":
                yield result[1]
            if result[0] == "error":
                raise gradio.Error(result[1], print_exception=False)
        finally:
            stop.set()
            worker.join()

    return handler


def work(task, arguments, results, stop):
    torch.cuda.is_available = is_available
    args, kwargs = arguments.get()

    def run():
        try:
            run = task(*args, **kwargs)
            for value in run:
                if stop.is_set():
                    run.close()
                    break
                results.put(("value", value))
            results.put(("end",))
        except Exception as error:
            results.put(("error", type(error).__name__))

    thread = threading.Thread(target=run)  # a new thread has no OpenMP pool yet; the pool inherited by the fork is dead
    thread.start()
    thread.join()
