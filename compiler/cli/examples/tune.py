"""Tunes a machine with Optuna: many points by the cost model, the best of them exactly.

    python tune.py SPEC.yaml DIR [TRIALS]
"""
import json, subprocess, sys
import optuna

spec, folder, trials = sys.argv[1], sys.argv[2], int((sys.argv + [200])[3])
server = subprocess.Popen(["scnnc", "sweep", "serve", spec, "-o", folder], stdin=-1, stdout=-1, text=True)
space = json.loads(server.stdout.readline())["axes"]

def measure(settings, fidelity):
    print(json.dumps({"settings": settings, "fidelity": fidelity}), file=server.stdin, flush=True)
    point = json.loads(server.stdout.readline())
    return None if point.get("total_cycles") is None else [point[name] for name in ("total_cycles", "total_energy_pj", "area_mm2")]

optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(directions=["minimize"] * 3, sampler=optuna.samplers.NSGAIISampler(seed=1, population_size=40))
study.optimize(lambda trial: measure({name: trial.suggest_categorical(name, values) for name, values in space.items()}, "model")
               or (_ for _ in ()).throw(optuna.TrialPruned()), n_trials=trials)
for settings in {json.dumps(trial.params): trial.params for trial in study.best_trials}.values():
    print(json.dumps({"settings": settings, "exact": measure(settings, "exact")}))
