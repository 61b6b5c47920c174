"""One language has many names: ``en``, ``eng``, ``en_XX``, ``eng_Latn``, ``__en__``, ``>>eng<<``.

The table has ISO 639-1, the ISO 639-3 codes that checkpoints use for it (of a macrolanguage, the
individual one they mean comes first), and the English name that T5's prefixes have.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bitext.errors import UnknownNameError, choose_from

_TABLE = """
af afr Afrikaans|ak aka Akan|am amh Amharic|ar arb,ara Arabic|as asm Assamese|ay ayr,aym Aymara
az azj,aze Azerbaijani|ba bak Bashkir|be bel Belarusian|bg bul Bulgarian|bm bam Bambara
bn ben Bengali|bo bod Tibetan|br bre Breton|bs bos Bosnian|ca cat Catalan|ceb ceb Cebuano
cs ces,cze Czech|cy cym Welsh|da dan Danish|de deu,ger German|dz dzo Dzongkha|ee ewe Ewe
el ell,gre Greek|en eng English|eo epo Esperanto|es spa Spanish|et est,ekk Estonian
eu eus,baq Basque|fa pes,fas Persian|ff fuv,ful Fulah|fi fin Finnish|fj fij Fijian
fo fao Faroese|fr fra,fre French|fy fry Frisian|ga gle Irish|gd gla Gaelic|gl glg Galician
gn grn Guarani|gu guj Gujarati|ha hau Hausa|he heb Hebrew|hi hin Hindi|hr hrv Croatian
ht hat Haitian|hu hun Hungarian|hy hye,arm Armenian|id ind Indonesian|ig ibo Igbo
is isl,ice Icelandic|it ita Italian|ja jpn Japanese|jv jav Javanese|ka kat,geo Georgian
kg kon Kongo|ki kik Kikuyu|kk kaz Kazakh|km khm Khmer|kn kan Kannada|ko kor Korean
kr knc,kau Kanuri|ks kas Kashmiri|ku kmr,kur Kurdish|ky kir Kyrgyz|lb ltz Luxembourgish
lg lug Ganda|li lim Limburgish|ln lin Lingala|lo lao Lao|lt lit Lithuanian|lv lvs,lav Latvian
mg plt,mlg Malagasy|mi mri Maori|mk mkd,mac Macedonian|ml mal Malayalam|mn khk,mon Mongolian
mr mar Marathi|ms zsm,msa Malay|mt mlt Maltese|my mya,bur Burmese|ne npi,nep Nepali
nl nld,dut Dutch|nn nno Nynorsk|no nob,nor Norwegian|ns nso Sotho|ny nya Nyanja|oc oci Occitan
om gaz,orm Oromo|or ory,ori Oriya|pa pan Punjabi|pl pol Polish|ps pbt,pus Pashto
pt por Portuguese|qu quy,que Quechua|rn run Rundi|ro ron,rum Romanian|ru rus Russian
rw kin Kinyarwanda|sa san Sanskrit|sc srd Sardinian|sd snd Sindhi|sg sag Sango
si sin Sinhala|sk slk,slo Slovak|sl slv Slovenian|sm smo Samoan|sn sna Shona|so som Somali
sq als,sqi Albanian|sr srp Serbian|ss ssw Swati|st sot Sotho|su sun Sundanese|sv swe Swedish
sw swh,swa Swahili|ta tam Tamil|te tel Telugu|tg tgk Tajik|th tha Thai|ti tir Tigrinya
tk tuk Turkmen|tl tgl,fil Tagalog|tn tsn Tswana|tr tur Turkish|ts tso Tsonga|tt tat Tatar
tw twi Twi|ug uig Uyghur|uk ukr Ukrainian|ur urd Urdu|uz uzn,uzb Uzbek|vi vie Vietnamese
wo wol Wolof|xh xho Xhosa|yi ydd,yid Yiddish|yo yor Yoruba|zh zho,chi,cmn Chinese|zu zul Zulu
"""
_ROWS = [row.split(" ", 2) for line in _TABLE.split("\n") if line for row in line.split("|")]
_LONG = {short: long.split(",") for short, long, _ in _ROWS}
_SHORT = {long: short for short, longs in _LONG.items() for long in longs} | {"nb": "no"}
_NAMES = {short: name for short, _, name in _ROWS}
_SCRIPTS = {"zh": "Hans", "ar": "Arab", "ks": "Arab", "kr": "Latn"}
"""The script that is meant where a checkpoint has several."""
_SIGNS = re.compile(r"^(?:__(.+)__|>>(.+)<<)$")


def plain(code: str) -> str:
    """ISO 639-1 where there is one, without country and script: ``eng_Latn`` is ``en``."""
    bare = _SIGNS.sub(lambda found: found[1] or found[2], code)
    first = bare.replace("-", "_").split("_")[0].lower()
    return _SHORT.get(first, first)


def english_name(code: str) -> str | None:
    """The name that a prompt has, such as ``German``."""
    return _NAMES.get(plain(code))


def find_code(language: str, codes: Sequence[str], *, side: str = "") -> str:
    """The code of a checkpoint's own list that is meant by ``language``.

    :param codes: such as ``["en_XX", "de_DE"]``.
    :param side: ``source`` or ``target``, for the message.
    :raises UnknownNameError: if none is meant, or several could be.
    """
    if language in codes:
        return language
    bare = _SIGNS.sub(lambda found: found[1] or found[2], language)
    same = [code for code in codes if _SIGNS.sub(lambda f: f[1] or f[2], code) == bare]
    # a country or a script that was named is meant
    special = "_" in bare.replace("-", "_")
    wanted = plain(language)
    fitting = same or ([] if special else [code for code in codes if plain(code) == wanted])
    if len(fitting) > 1:
        script = f"_{_SCRIPTS.get(wanted, '?')}"
        longest = _LONG.get(wanted, [wanted])[0]
        fitting = (
            [code for code in fitting if code == f"{longest}{script}"]
            or [code for code in fitting if code.split("_")[0] == longest]
            or fitting
        )
    if len(fitting) == 1:
        return fitting[0]
    what = f"{side} language".strip()
    if fitting:
        raise UnknownNameError(f"{what} '{language}' is one of {', '.join(fitting)}; name one")
    raise UnknownNameError(choose_from(what, language, sorted(codes)))
