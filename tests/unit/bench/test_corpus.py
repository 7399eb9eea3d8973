"""The shipped test data: complete, consistent, and not answered by matching words."""

import re
from collections import Counter

from lightragctl.bench.corpus import CorpusDocument, CorpusQuestion, documents, qrels, questions, topics

LONGEST_RUN = {"en": 4, "zh": 8}  # words; characters
HAN = re.compile(r"[\u4e00-\u9fff]")
DOCUMENTS = {document.source: document for document in documents()}
QUESTIONS = {question.id: question for question in questions()}
QRELS = qrels()


def title(document: CorpusDocument) -> str:
    return document.text.splitlines()[0].removeprefix("# ")


def subject(document: CorpusDocument) -> str:
    return document.source.split("-", 1)[1]


def main_document(question: CorpusQuestion) -> CorpusDocument:
    return next(DOCUMENTS[source] for source, relevance in QRELS[question.id].items() if relevance == 2)


def runs(text: str, language: str) -> set[tuple[str, ...]]:
    """Every run that is one longer than may be shared: of words, or of characters without punctuation."""
    words = re.findall(r"\w+", text.lower())
    parts = words if language == "en" else list("".join(words))
    length = LONGEST_RUN[language] + 1
    return {tuple(parts[start : start + length]) for start in range(len(parts) - length + 1)}


def is_chinese(text: str) -> bool:
    return len(HAN.findall(text)) > len(text) / 2


def test_each_topic_has_eight_documents_in_each_language() -> None:
    counted = Counter((document.language, document.topic) for document in DOCUMENTS.values())
    assert counted == {(language, topic): 8 for language in ("en", "zh") for topic in topics()}


def test_each_document_has_two_questions_in_its_language_and_twelve_are_asked_in_the_other() -> None:
    assert len(QUESTIONS) == len(questions()) == 108
    own = Counter(
        main_document(question).source
        for question in QUESTIONS.values()
        if question.language == main_document(question).language
    )
    assert own == dict.fromkeys(DOCUMENTS, 2)
    crossed = [question for question in QUESTIONS.values() if question.language != main_document(question).language]
    assert Counter(question.language for question in crossed) == {"en": 6, "zh": 6}
    assert all(question.id.startswith("cross-") for question in crossed)


def test_every_question_has_one_main_document_and_every_judgement_names_what_exists() -> None:
    assert set(QRELS) == set(QUESTIONS)
    for judged in QRELS.values():
        assert set(judged) <= set(DOCUMENTS)
        assert list(judged.values()).count(2) == 1


def test_what_is_relevant_besides_is_the_twin_in_the_other_language() -> None:
    for question in QUESTIONS.values():
        main = main_document(question)
        for source in set(QRELS[question.id]) - {main.source}:
            assert QRELS[question.id][source] == 1
            assert subject(DOCUMENTS[source]) == subject(main)
            assert DOCUMENTS[source].language != main.language


def test_six_subjects_exist_in_both_languages() -> None:
    counted = Counter(subject(document) for document in DOCUMENTS.values())
    assert list(counted.values()).count(2) == 6


def test_languages_and_topics_are_as_declared() -> None:
    for document in DOCUMENTS.values():
        assert is_chinese(document.text) == (document.language == "zh"), document.source
        assert document.language == "zh" or not HAN.search(document.text)
    for question in QUESTIONS.values():
        assert is_chinese(question.text) == (question.language == "zh"), question.id
        assert question.topic == main_document(question).topic


def test_documents_are_of_the_promised_size() -> None:
    for document in DOCUMENTS.values():
        if document.language == "en":
            assert 150 <= len(document.text.split()) <= 300, document.source
        else:
            assert 300 <= len("".join(document.text.split())) <= 500, document.source


def test_no_title_and_no_question_comes_twice() -> None:
    titles = [title(document) for document in DOCUMENTS.values()]
    assert len(set(titles)) == len(titles)
    assert len({question.text for question in QUESTIONS.values()}) == len(QUESTIONS)


def test_no_question_shares_a_long_run_with_what_answers_it() -> None:
    sharing = [
        (question.id, source)
        for question in QUESTIONS.values()
        for source in QRELS[question.id]
        if runs(question.text, question.language) & runs(DOCUMENTS[source].text, question.language)
    ]
    assert not sharing


def test_topics_have_the_words_that_a_load_asks_for() -> None:
    assert list(topics().values()) == ["科技", "金融", "医疗"]
