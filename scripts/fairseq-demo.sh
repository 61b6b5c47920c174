#!/bin/sh
# fairseq and bitext hand each other data and a model: fairseq-demo.sh FAIRSEQ_FOLDER FOLDER
#
# Bitext is cut into the bundled encoder's pieces and binarised, once by bitext and once by fairseq;
# fairseq trains a translation model that starts from the encoder, and translates; bitext takes the
# model over. All of it is tiny. PYTHON is the one that has bitext; FOLDER keeps what is made.
set -eu

fairseq=$1/bin/python
work=$2
bitext="${PYTHON:-python3} -m bitext"
root=$(cd "$(dirname "$0")/.." && pwd)
plugin="$fairseq $root/nmt/interop/fairseq_plugin"
export PYTHONPATH="$root"
mkdir -p "$work"

say() { echo "fairseq: $*"; }
quietly() { "$@" >"$work/log.txt" 2>&1 || { tail -n 20 "$work/log.txt" >&2; exit 1; }; }

pairs() { # every subject, verb and object
  for subject in cat:Katze dog:Hund house:Haus tree:Baum; do
    for verb in sees:sieht likes:mag finds:findet; do
      for object in cat:Katze dog:Hund house:Haus tree:Baum; do
        echo "the ${subject%:*} ${verb%:*} the ${object%:*} ." >&3
        echo "die ${subject#*:} ${verb#*:} die ${object#*:} ." >&4
      done
    done
  done
}
pairs 3>"$work/text.en" 4>"$work/text.de"

$bitext fairseq write-data "$work/data" --source en --target de --train "$work/text" \
  --valid "$work/text" --test "$work/text" --model bundled --trim >"$work/log.txt"
$bitext fairseq read-data "$work/data" "$work/pieces" >"$work/log.txt"
cut -f1 "$work/pieces/train.en-de.tsv" | sed 's/^/<s> /' >"$work/pieces.en"
cut -f2 "$work/pieces/train.en-de.tsv" >"$work/pieces.de"
quietly $plugin preprocess -s en -t de --destdir "$work/theirs" --trainpref "$work/pieces" \
  --srcdict "$work/data/dict.en.txt" --tgtdict "$work/data/dict.de.txt" --workers 1
for file in dict.en.txt dict.de.txt train.en-de.en.bin train.en-de.en.idx train.en-de.de.bin \
  train.en-de.de.idx; do
  cmp "$work/data/$file" "$work/theirs/$file"
done
say "what bitext and fairseq-preprocess wrote of $(wc -l <"$work/text.en") pairs is equal byte by byte"

quietly $plugin train "$work/data" -s en -t de --task translation --arch transformer_from_mllm \
  --mllm-path "$root/encoders/bundled" --mllm-init both --decoder-layers 2 \
  --optimizer adam --lr 0.001 --clip-norm 1 --dropout 0.1 --batch-size 16 --max-update 12 \
  --criterion label_smoothed_cross_entropy --label-smoothing 0.1 --cpu --save-dir "$work/checkpoints" \
  --no-epoch-checkpoints --no-last-checkpoints
grep -o 'architecture | .*' "$work/log.txt" | sed 's/^architecture | /fairseq: /'
say "$(grep -o 'valid on .*ppl [0-9.]*' "$work/log.txt" | tail -n 1)"

quietly $plugin generate "$work/data" -s en -t de --path "$work/checkpoints/checkpoint_best.pt" --cpu \
  --beam 2 --max-len-b 20 --remove-bpe sentencepiece
hypotheses=$(grep -c '^H-' "$work/log.txt")
[ "$hypotheses" = 48 ]

said=$($bitext fairseq import-model "$work/checkpoints/checkpoint_best.pt" "$work/model" --source en \
  --target de --dictionaries "$work/data" --tokenizer "$root/encoders/bundled" --start)
say "bitext took over $said"
say "all done: data, 12 updates from the bundled encoder, $hypotheses translations, the model in bitext"
