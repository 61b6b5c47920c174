"""Word alignment: which word of one sentence translates which of the other.

:class:`aligners.aligner.Aligner` takes sentence pairs to alignments; :mod:`aligners.matching` holds
the methods, :mod:`aligners.similarity` what they look at, :mod:`bitext.scoring` the scores
against gold.
"""
