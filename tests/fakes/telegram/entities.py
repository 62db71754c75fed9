# SPDX-License-Identifier: Apache-2.0
# Text with entities as Telegram makes it of HTML, and of what a person types.
import re
from html import unescape

TAGS = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
    "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough", "code": "code", "pre": "pre",
    "blockquote": "blockquote", "a": "text_link", "tg-spoiler": "spoiler",
}
NAMED = re.compile(r"&(lt|gt|amp|quot|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});")
TYPED = re.compile(r"(?<![\w/@])(/[A-Za-z0-9_]{1,32}(@[A-Za-z0-9_]{3,32})?|@[A-Za-z0-9_]{3,32})")


class BadMarkup(Exception):
    """Telegram's words for what it cannot parse."""


def units(text):
    return len(text.encode("utf-16-le")) // 2


def entity(kind, start, end, **more):
    return {"type": kind, "offset": start, "length": end - start, **more}


def parse_html(source):
    """(text, entities) of parse_mode HTML; BadMarkup in Telegram's words."""
    text, entities, stack, at = [], [], [], 0
    length = 0

    def fail(words):
        raise BadMarkup("can't parse entities: %s at byte offset %d" % (words, len(source[:at].encode())))

    while at < len(source):
        if source[at] == "&":
            match = NAMED.match(source, at)
            piece = unescape(match.group()) if match else "&"
            at = match.end() if match else at + 1
            text.append(piece)
            length += units(piece)
        elif source[at] == "<":
            end = source.find(">", at)
            if end < 0:
                fail("Unclosed start tag")
            inner = source[at + 1:end]
            if inner.startswith("/"):
                name = inner[1:].strip().lower()
                if not stack:
                    fail('Unexpected end tag')
                opened, start, more = stack.pop()
                if opened != name:
                    fail('Unmatched end tag, expected "</%s>", found "</%s>"' % (opened, name))
                if length > start:
                    close(entities, stack, TAGS[name], start, length, more)
            else:
                name, _, rest = inner.partition(" ")
                name = name.lower()
                if name not in TAGS:
                    fail('Unsupported start tag "%s"' % name)
                attributes = dict(re.findall(r'([a-z-]+)="([^"]*)"', rest))
                stack.append((name, length, {key: unescape(value) for key, value in attributes.items()}))
            at = end + 1
        else:
            text.append(source[at])
            length += units(source[at])
            at += 1
    if stack:
        raise BadMarkup('can\'t parse entities: Can\'t find end tag corresponding to start tag "%s"' % stack[-1][0])
    return "".join(text), sorted(entities, key=lambda e: (e["offset"], -e["length"]))


def close(entities, stack, kind, start, end, more):
    """Code and pre hold nothing and lie in nothing but a quote; <pre><code class="language-x"> is one entity."""
    around = [TAGS[name] for name, _, _ in stack]
    if kind == "code" and around and around[-1] == "pre":
        stack[-1][2]["language"] = more.get("class", "").removeprefix("language-")
        return
    if "code" in around or "pre" in around:
        raise BadMarkup("can't parse entities: entities inside of code")
    if kind in ("code", "pre"):
        if any(name != "blockquote" for name in around):
            raise BadMarkup("can't parse entities: code inside of another entity")
    if kind == "blockquote" and "blockquote" in around:
        raise BadMarkup("can't parse entities: nested blockquote")
    if kind == "text_link":
        if re.match(r"(https?|tg|mailto):", more.get("href", "")):
            entities.append(entity(kind, start, end, url=more["href"]))
        return
    extra = {"language": more["language"]} if kind == "pre" and more.get("language") else {}
    entities.append(entity(kind, start, end, **extra))


def typed_entities(text):
    """What Telegram finds in a text by itself: commands and mentions."""
    found = []
    for match in TYPED.finditer(text):
        start = units(text[:match.start()])
        kind = "bot_command" if match.group().startswith("/") else "mention"
        found.append(entity(kind, start, start + units(match.group())))
    return found


def mentioned(text, entities):
    """Names that a message would notify: mentions that stand outside of code."""
    quiet = [(e["offset"], e["offset"] + e["length"]) for e in entities if e["type"] in ("code", "pre")]
    return [text_of(text, e) for e in typed_entities(text)
            if e["type"] == "mention" and not any(a <= e["offset"] < b for a, b in quiet)]


def text_of(text, item):
    raw = text.encode("utf-16-le")
    return raw[2 * item["offset"]:2 * (item["offset"] + item["length"])].decode("utf-16-le")
