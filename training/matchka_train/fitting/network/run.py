"""Training a radio network from its recipe to its file."""

from rich.progress import Progress

from matchka_train.backbones.iq.file import TrainedNetwork, write_network
from matchka_train.fitting.network.finish import finish_network
from matchka_train.fitting.network.recipe import NetworkRecipe
from matchka_train.fitting.network.training import train_network


def run_network(recipe: NetworkRecipe, progress: Progress) -> TrainedNetwork:
    """Train a network on made signals, measure it, and write it where the recipe says."""
    task = progress.add_task("epochs", total=recipe.epochs)
    network = train_network(recipe, lambda _epoch, _loss: progress.advance(task))
    trained = finish_network(recipe, network)
    write_network(recipe.output, trained)
    return trained
