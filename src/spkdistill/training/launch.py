"""One training as several processes of this machine, which the one that a person started speaks for.

It passes SIGTERM and SIGINT on, ends the others when one fails, and raises the error that began it. torchrun
kills 30 seconds after SIGTERM, a checkpoint or not, and reports in tracebacks; its environment is understood
all the same, for those who start one: `torchrun --nproc-per-node 2 --no-python -- spkdistill train ...`.
"""

import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

from spkdistill.errors import ConfigError, SpkdistillError
from spkdistill.settings import build
from spkdistill.training.settings import TrainingSettings

GRACE = 10.0  # seconds that the others have to notice that one is gone


class Lost(SpkdistillError):
    """Another process of the training is gone, for a reason that it knows better."""


def together(work: Callable[[Namespace], None], options: Namespace) -> None:
    """Call `work(options)` in as many processes as `options.settings["training"]` says; here if in one.

    Raises what the process that failed first raised, or a SpkdistillError that says how it ended.
    """
    processes = build(TrainingSettings, options.settings.get("training"), "training").processes
    if "TORCHELASTIC_RUN_ID" in os.environ:
        join_torchrun(work, options, processes)
    elif processes == 1:
        work(options)
    else:
        start(work, options, processes)


def join_torchrun(work: Callable[[Namespace], None], options: Namespace, processes: int) -> None:
    """Be one of the processes that torchrun started."""
    size, local_size = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if size != processes:
        raise ConfigError(f"training.processes: {processes}, but torchrun started {size}")
    if processes == 1:
        return work(options)
    from spkdistill.training.processes import joined

    with joined(int(os.environ["RANK"]), size, "env://", int(os.environ["LOCAL_RANK"]), local_size):
        work(options)


def start(work: Callable[[Namespace], None], options: Namespace, processes: int) -> None:
    """Start the processes, wait for them, and raise what the first to fail raised."""
    context, caught = get_context("spawn"), []
    with TemporaryDirectory(prefix="spkdistill-") as folder:
        pipes = [context.Pipe(duplex=False) for _ in range(processes)]
        place = processes, f"file://{Path(folder).resolve()}/rendezvous"
        members = [
            context.Process(target=member, args=(work, options, rank, *place, writer), daemon=True)
            for rank, (_, writer) in enumerate(pipes)
        ]

        def stop(*signal_and_frame: object) -> None:
            caught.append(True)
            for process in members:
                if process.is_alive():
                    process.terminate()

        previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for process in members:
                if not caught:
                    process.start()
            if caught:  # perhaps while one was being started
                stop()
            failed = wait(members)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        if failed:
            raise reason(failed, members, [reader for reader, _ in pipes], options.work)


def member(
    work: Callable[[Namespace], None],
    options: Namespace,
    rank: int,
    size: int,
    rendezvous: str,
    errors: connection.Connection,
) -> None:
    """Be one of the processes: errors that people read go to the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches that one too, which passes it on
    threading.Thread(target=end_with_parent, daemon=True).start()
    from spkdistill.training.processes import joined

    try:
        with joined(rank, size, rendezvous, rank, size):
            work(options)
    except (SpkdistillError, OSError) as error:
        errors.send(error)
        sys.exit(1)


def end_with_parent() -> None:
    """Live no longer than the process that started this one, however that ends."""
    connection.wait([parent_process().sentinel])
    os._exit(1)


def wait(members: list[BaseProcess]) -> list[BaseProcess]:
    """Wait for all of them; those that failed, in the order in which they ended."""
    running = [process for process in members if process.pid is not None]
    failed = [process for process in members if process.pid is None]  # stopped before it was started
    while running:
        ended = connection.wait([process.sentinel for process in running], GRACE if failed else None)
        if not ended:
            for process in running:
                process.kill()
        failed += [process for process in running if process.sentinel in ended and exit_status(process) != 0]
        running = [process for process in running if process.sentinel not in ended]
    return failed


def exit_status(process: BaseProcess) -> int:
    """How an ended process ended: negative for a signal."""
    process.join()
    return process.exitcode


def reason(
    failed: list[BaseProcess],
    members: list[BaseProcess],
    readers: list[connection.Connection],
    work: str | Path,
) -> Exception:
    """Why the training failed: what the first to fail said, those apart that only miss another one."""
    said = {process: reader.recv() for process, reader in zip(members, readers, strict=True) if reader.poll()}
    causes = [process for process in failed if not isinstance(said.get(process), Lost)]
    cause = (causes or failed)[0]
    if cause in said:
        return said[cause]
    which = f"process {members.index(cause)} of {len(members)}"
    if cause.pid is not None and cause.exitcode > 0:
        return SpkdistillError(f"{which} of the training failed; what it said is above")
    how = signal.Signals(-cause.exitcode).name if cause.pid is not None else "a signal"
    return SpkdistillError(f"{which} of the training was ended by {how}; run again to go on from {work}")
