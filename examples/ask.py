"""Ask a trained model: python examples/ask.py models/ldebm/seed1 data/raw/test.txt"""

import sys
from pathlib import Path

import ldebm

folder, text = sys.argv[1:]
model = ldebm.load(folder)
sentences = Path(text).read_text(encoding="utf-8").splitlines()

used = [one for one in model.symbols(sentences) if one.share]
for symbol in sorted(used, key=lambda one: -one.share)[:5]:
    print(f"{symbol.value:2}  {symbol.share:3.0%}  {' '.join(symbol.words)}")
    print(f"    real  {symbol.sentences[0]}")
    print(f"    new   {model.sample(1, symbol=symbol.value)[0]}")

print("from one sentence to another:")
for sentence in model.interpolate(sentences[0], sentences[1], 5):
    print(f"    {sentence}")
