"""Views: the fixed list of crops that teacher and students both see."""


rule views:
    input:
        num_frames=lambda w: f"results/{w.run}/feats/{config['vad']['features']}/{w.set}/utt2num_frames",
        utt2spk="results/{run}/data/{set}/utt2spk",
    output:
        views="results/{run}/views/{set}/views.tsv",
        speakers="results/{run}/views/{set}/speakers",
        rejected="results/{run}/views/{set}/rejected.tsv",
    log:
        "results/{run}/logs/views/{set}.log",
    benchmark:
        "results/{run}/benchmarks/views/{set}.tsv"
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=as_json(config["views"]),
        seed=config["seed"],
        code=stage_code("views"),
    message:
        "Drawing the views of {wildcards.set}"
    shell:
        "spkdistill views --num-frames {input.num_frames} --utt2spk {input.utt2spk}"
        " --settings {params.settings:q} --seed {params.seed}"
        " --output {output.views} --speakers {output.speakers} --rejected {output.rejected} > {log} 2>&1"
