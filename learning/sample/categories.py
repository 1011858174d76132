"""The twelve categories of the sample desk: a small shop that sells household goods and electronics online."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LOCALES = ("en", "ja")


@dataclass(frozen=True)
class SampleCategory:
    """A category as a project would enter it; every mapping is keyed by locale."""

    key: str
    name: Mapping[str, str]
    description: Mapping[str, str]
    examples: Mapping[str, tuple[str, ...]]
    guideline: Mapping[str, str]
    high_risk: bool = False


def _category(
    key: str,
    *,
    en: tuple[str, str, tuple[str, ...], str],
    ja: tuple[str, str, tuple[str, ...], str],
    high_risk: bool = False,
) -> SampleCategory:
    """``en`` and ``ja`` are (name, description, examples, guideline)."""
    texts = {"en": en, "ja": ja}
    names, descriptions = {lo: t[0] for lo, t in texts.items()}, {lo: t[1] for lo, t in texts.items()}
    examples, guidelines = {lo: t[2] for lo, t in texts.items()}, {lo: t[3] for lo, t in texts.items()}
    return SampleCategory(key, names, descriptions, examples, guidelines, high_risk)


CATEGORIES: list[SampleCategory] = [
    _category(
        "refund",
        en=(
            "Refund",
            "The customer wants money back, or asks where a promised refund is.",
            ("I returned the lamp two weeks ago, when will I get my money back?", "Please refund the second charge."),
            "Money back is the request, whatever the reason; a replacement instead of money is Damaged item.",
        ),
        ja=(
            "返金",
            "返金を求める、または約束された返金の時期を尋ねるお問い合わせ。",
            ("返品したランプの返金はいつになりますか。", "二重に引き落とされた分を返金してください。"),
            "理由を問わず、求めているのがお金の返還なら「返金」。交換の希望は「商品の破損」。",
        ),
    ),
    _category(
        "delivery_late",
        en=(
            "Late delivery",
            "A parcel has not arrived, is late, or its tracking does not move.",
            ("My parcel should have been here on Monday.", "The tracking has not moved for five days."),
            "The customer still wants the parcel; if they want the money instead, it is Refund.",
        ),
        ja=(
            "配送の遅れ",
            "荷物が届かない、遅れている、追跡情報が動かないというお問い合わせ。",
            ("月曜に届くはずの荷物がまだ来ません。", "追跡番号を見ても五日前から更新されていません。"),
            "荷物を待っている場合はこちら。代金を返してほしい場合は「返金」。",
        ),
    ),
    _category(
        "cancel_order",
        en=(
            "Cancel order",
            "The customer wants to stop an order that has not been delivered.",
            ("Please cancel order 41877, I ordered the wrong colour.", "Can I still stop my order before it ships?"),
            "The order has not been delivered yet; after delivery it is Refund.",
        ),
        ja=(
            "注文のキャンセル",
            "まだ届いていない注文を取り消したいというお問い合わせ。",
            ("色を間違えたので注文をキャンセルしてください。", "発送前なら注文を取り消せますか。"),
            "届く前の取り消しはこちら。届いた後は「返金」。",
        ),
    ),
    _category(
        "damaged_item",
        en=(
            "Damaged item",
            "Something arrived broken, incomplete or as the wrong article, and a replacement is wanted.",
            ("The teapot arrived in pieces.", "One of the six glasses was broken, can you send a new one?"),
            "It was wrong on arrival; what breaks after some time of use is Warranty.",
        ),
        ja=(
            "商品の破損",
            "届いた商品が壊れている、足りない、または違う物だったというお問い合わせ。",
            ("届いた急須が割れていました。", "六個のうち一つが割れていたので、交換してもらえますか。"),
            "届いた時点での不具合はこちら。使っているうちに壊れた場合は「保証・修理」。",
        ),
    ),
    _category(
        "login_problem",
        en=(
            "Login problem",
            "The customer cannot sign in: password, verification code, locked account.",
            ("The password reset mail never arrives.", "My account is locked after three attempts."),
            "Anything that keeps a person out of their account; closing the account is Account deletion.",
        ),
        ja=(
            "ログインできない",
            "パスワード、認証コード、ロックなどでサインインできないというお問い合わせ。",
            ("パスワード再設定のメールが届きません。", "何度か間違えてアカウントがロックされました。"),
            "アカウントに入れない場合はすべてこちら。退会は「アカウント削除」。",
        ),
    ),
    _category(
        "change_address",
        en=(
            "Change of address",
            "A delivery or billing address is to be changed.",
            ("I am moving, please send the order to my new flat.", "The house number on my order is wrong."),
            "An address is to be corrected or replaced, before or after an order.",
        ),
        ja=(
            "住所変更",
            "配送先や請求先の住所を変更したいというお問い合わせ。",
            ("引っ越すので新しい住所に送ってください。", "注文の番地が間違っています。"),
            "注文の前後を問わず、住所の訂正や変更はこちら。",
        ),
    ),
    _category(
        "invoice",
        en=(
            "Invoice",
            "The customer needs an invoice or receipt, or a correction of one.",
            ("I need an invoice with our VAT number.", "Where can I download the receipt?"),
            "A document is asked for or to be corrected; a wrong charge is Refund or Payment failed.",
        ),
        ja=(
            "請求書・領収書",
            "請求書や領収書の発行、再発行、訂正のお問い合わせ。",
            ("会社名で領収書を発行してください。", "請求書はどこからダウンロードできますか。"),
            "書類の依頼や訂正はこちら。請求額そのものの誤りは「返金」か「支払いエラー」。",
        ),
    ),
    _category(
        "payment_failed",
        en=(
            "Payment failed",
            "A payment does not go through at the checkout.",
            ("My card is declined although there is money on it.", "The checkout stops at the payment step."),
            "The customer tried to pay and could not; money taken wrongly is Refund.",
        ),
        ja=(
            "支払いエラー",
            "注文手続きで支払いが通らないというお問い合わせ。",
            ("残高があるのにカードが拒否されます。", "支払い画面で止まってしまいます。"),
            "支払おうとしてできなかった場合はこちら。誤って引き落とされた場合は「返金」。",
        ),
    ),
    _category(
        "warranty",
        en=(
            "Warranty",
            "Something stopped working after some time of use: repair, warranty, spare parts.",
            ("The mixer stopped after eight months, is that covered?", "How do I send it in for repair?"),
            "It worked first and broke later, or the length and terms of the warranty are asked for.",
        ),
        ja=(
            "保証・修理",
            "しばらく使ってから壊れた商品の修理、保証、部品のお問い合わせ。",
            ("八か月でミキサーが動かなくなりました。保証の対象ですか。", "修理に出すにはどうすればいいですか。"),
            "最初は動いていて後で壊れた場合や、保証期間・条件の質問はこちら。",
        ),
    ),
    _category(
        "product_question",
        en=(
            "Product question",
            "A question about a product before buying: size, fit, material, stock, compatibility.",
            ("Does the kettle switch off by itself?", "When will the grey chair be back in stock?"),
            "The customer asks about a product and has no problem with an order.",
        ),
        ja=(
            "商品についての質問",
            "購入前の質問。大きさ、素材、在庫、対応機種など。",
            ("このケトルは自動で電源が切れますか。", "グレーの椅子はいつ再入荷しますか。"),
            "商品について知りたいだけで、注文に問題がない場合はこちら。",
        ),
    ),
    _category(
        "account_deletion",
        en=(
            "Account deletion",
            "The customer wants the account closed or personal data deleted.",
            ("Please close my account and delete my data.", "How do I unsubscribe for good?"),
            "A legal deadline runs: a person answers. Leaving the newsletter belongs here as well.",
        ),
        ja=(
            "アカウント削除",
            "退会、または個人情報の削除を求めるお問い合わせ。",
            ("退会したいので個人情報も削除してください。", "メールの配信を完全に止めたいです。"),
            "法律上の期限があるため、必ず担当者が返信する。メール配信の停止もこちら。",
        ),
        high_risk=True,
    ),
    _category(
        "complaint",
        en=(
            "Complaint",
            "The customer complains about the service or the staff, or threatens consequences.",
            ("Your support hung up on me twice.", "I will report this shop to consumer protection."),
            "The way the customer was treated is the matter; a person answers.",
        ),
        ja=(
            "苦情",
            "対応やスタッフへの苦情、または消費者センターへの相談などを示すお問い合わせ。",
            ("電話を二回も途中で切られました。", "この対応は消費者センターに相談します。"),
            "対応そのものへの不満はこちら。必ず担当者が返信する。",
        ),
        high_risk=True,
    ),
]
KEYS = tuple(c.key for c in CATEGORIES)
