"""`ursa compare`."""

from __future__ import annotations

from pathlib import Path

import click

from ...proto.errors import InputError


@click.command()
@click.option("--profiles", required=True, metavar="FILE,FILE", help="KubeSchedulerConfigurations of one profile each.")
@click.option("--workload", required=True, metavar="NAME", help="trace (needs its files), gpu or basic (made up).")
@click.option("--nodes-csv", type=click.Path(path_type=Path), metavar="FILE", help="Nodes of the trace.")
@click.option("--pods-csv", type=click.Path(path_type=Path), metavar="FILE", help="Pods of the trace.")
@click.option("--seed", type=int, default=0, show_default=True, help="The first.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many.")
@click.option(
    "--ties",
    type=click.Choice(["order", "random"]),
    default="order",
    show_default=True,
    help="Who gets a pod where scores are equal: the first node in an order drawn from the seed, or any.",
)
@click.option(
    "--shared-seeds",
    type=click.IntRange(0, 1000),
    default=1,
    show_default=True,
    help="How many of the seeds are also run with two schedulers that share the nodes, for conflicts and startup.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Directory; the comparison gets a new folder in it.",
)
def compare(
    profiles: str,
    workload: str,
    nodes_csv: Path | None,
    pods_csv: Path | None,
    seed: int,
    seeds: int,
    ties: str,
    shared_seeds: int,
    output: Path,
) -> int:
    """Place the same pods under different profiles of the scheduler, side by side.

    The scheduler alone, without a cluster: pods arrive one after the other in an order drawn from the seed, until they
    have asked for 130 % of what the nodes have; what does not fit is left out, and nothing leaves. Conflicts and
    startup are those of the same pods in a whole cluster on a virtual clock, whose two schedulers share the nodes, of
    which it has at most 100: some seconds for each profile. `trace` is the experiment of the paper "Beware of
    Fragmentation" (USENIX ATC 2023). Its CSV files are those of `ursa replay`.
    """
    from ..compare.comparing import compare_profiles, document_of
    from ..compare.filling import Filling, Ties
    from ..compare.output import print_table, write_comparison
    from ..compare.profiles import read_profile
    from ..compare.sharing import Sharing
    from ..compare.workloads import make_workload
    from ..report.folder import require_writable

    paths = [Path(part.strip()) for part in profiles.split(",") if part.strip()]
    if not paths:
        raise InputError("--profiles names no file: give one or more, with commas between them")
    read = [read_profile(path) for path in paths]
    names = [profile.name for profile in read]
    if len(dict.fromkeys(names)) < len(names):
        raise InputError("two files of --profiles have the same name, by which the profiles are told apart")
    made = make_workload(workload, nodes_csv, pods_csv)
    require_writable(output)
    numbers = range(seed, seed + seeds)

    def tell(name: str, run: Filling | Sharing) -> None:
        if isinstance(run, Sharing):
            told = f"{run.refused} of {run.claims:,} claims refused where two schedulers share {run.nodes} nodes"
        else:
            told = f"{run.allocated:.2f} % in {run.cpu_seconds:.1f} s"
        click.echo(f"{name}, seed {run.seed}: {told}", err=True)

    shared = numbers[:shared_seeds]
    compared = compare_profiles(made, read, numbers, Ties(ties), tell, shared)
    document = document_of(made, compared, numbers, Ties(ties), shared)
    print_table(document)
    click.echo(f"report: {write_comparison(output, document) / 'compare.html'}")
    return 0
