"""Make a table of runs with scikit-learn: its three solvers on a part of Fashion-MNIST.

It stands for any program that writes a line per run: `python make_table.py TABLE`.
"""

import csv
import sys
import warnings

from sklearn.neural_network import MLPClassifier

from heatgrad.data import FashionMNIST

warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")  # ten epochs are meant

RATES = {"sgd": 0.05, "adam": 0.002, "lbfgs": 0.001}  # lbfgs takes none

with open(sys.argv[1], "x", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["arm", "seed", "accuracy"])
    for seed in range(10):
        data = FashionMNIST(num_train=1000, num_test=1000).load(seed)
        x_train, x_test = (x.flatten(1).numpy() for x in (data.x_train, data.x_test))
        for solver, rate in RATES.items():
            model = MLPClassifier(
                (64,), solver=solver, learning_rate_init=rate, max_iter=10, random_state=seed
            )
            model.fit(x_train, data.y_train.numpy())
            writer.writerow([solver, seed, model.score(x_test, data.y_test.numpy())])
