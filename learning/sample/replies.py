"""What the sample desk answers: for each category and locale a full reply and a curt one, written for the project."""

from __future__ import annotations

REPLIES: dict[str, dict[str, tuple[str, str]]] = {
    "refund": {
        "en": (
            (
                "We are sorry for the trouble. As soon as the return is with us, the amount goes back to the way you paid within "
                "five working days, and we write to you when it does."
            ),
            "Refunds take five working days after the return.",
        ),
        "ja": (
            "ご不便をおかけして申し訳ございません。返品が届き次第、五営業日以内にお支払い方法へ返金し、完了時にメールでお知らせします。",
            "返金は返品到着から五営業日です。",
        ),
    },
    "delivery_late": {
        "en": (
            (
                "We are sorry that your parcel is late. We have asked the carrier to look for it; if it has not arrived within two "
                "working days, we send it again or give you your money back, as you prefer."
            ),
            "Please wait two more working days.",
        ),
        "ja": (
            "お荷物が遅れており申し訳ございません。配送会社に調査を依頼しました。二営業日以内に届かない場合は、再送または返金をお選びいただけます。",
            "あと二営業日お待ちください。",
        ),
    },
    "cancel_order": {
        "en": (
            (
                "We stop the order if it has not left the warehouse, and confirm it by mail within the hour. If it is already on "
                "its way, simply refuse the parcel and we pay back the full price."
            ),
            "Orders can be cancelled until they ship.",
        ),
        "ja": (
            "発送前でしたらキャンセルし、一時間以内にメールで確認をお送りします。発送済みの場合は受け取りを辞退いただければ全額返金します。",
            "発送前ならキャンセルできます。",
        ),
    },
    "damaged_item": {
        "en": (
            (
                "That should not have happened. Send us a photo of the damage and we ship a replacement at once; you need not send "
                "the broken one back."
            ),
            "Please send a photo of the damage.",
        ),
        "ja": (
            "このような状態でお届けし、申し訳ございません。破損部分の写真をお送りいただければ、すぐに代品を発送します。返送は不要です。",
            "破損の写真をお送りください。",
        ),
    },
    "login_problem": {
        "en": (
            (
                "Please open the sign-in page, choose 'Forgotten password' and look into the spam folder for our mail. If the "
                "account is locked, it opens again after thirty minutes; if not, answer here and we unlock it."
            ),
            "Please reset your password.",
        ),
        "ja": (
            "サインイン画面の「パスワードを忘れた方」からお進みいただき、迷惑メールもご確認ください。ロックは三十分で解除されます。解除されない場合は、このままご返信ください。",
            "パスワードを再設定してください。",
        ),
    },
    "change_address": {
        "en": (
            (
                "You can change the address under 'My account' until the parcel ships. If it is already on its way, send us the "
                "new address here and we redirect it without charge."
            ),
            "Change it under 'My account'.",
        ),
        "ja": (
            "発送前であれば「マイページ」で住所を変更いただけます。発送済みの場合は、新しい住所をここにお書きください。無料で転送します。",
            "「マイページ」で変更できます。",
        ),
    },
    "invoice": {
        "en": (
            (
                "You find every invoice as a PDF under 'My orders'. If the name, the VAT number or the address is to be changed, "
                "tell us how it should read and we send a corrected one today."
            ),
            "Invoices are under 'My orders'.",
        ),
        "ja": (
            "請求書と領収書は「注文履歴」からPDFで取得いただけます。宛名や登録番号の訂正は、ご希望の表記をお知らせいただければ本日中に再発行します。",
            "「注文履歴」から取得できます。",
        ),
    },
    "payment_failed": {
        "en": (
            (
                "Nothing was charged. Often the bank asks for a confirmation in its app that was not given in time: please try "
                "once more with the app open, or choose another way to pay. Your basket is kept."
            ),
            "Please try another way to pay.",
        ),
        "ja": (
            "お支払いは発生していません。多くの場合、銀行アプリでの承認が間に合っていません。アプリを開いてもう一度お試しいただくか、別の方法をお選びください。カートの中身は残っています。",
            "別のお支払い方法をお試しください。",
        ),
    },
    "warranty": {
        "en": (
            (
                "Everything that we sell has two years of warranty, with or without the paper receipt. Send it in with the label "
                "attached here; the repair takes about ten days and costs nothing."
            ),
            "The warranty is two years.",
        ),
        "ja": (
            "当店の商品には二年間の保証があり、領収書がなくてもご利用いただけます。添付の送り状でお送りください。修理は約十日、無料です。",
            "保証は二年間です。",
        ),
    },
    "product_question": {
        "en": (
            (
                "Thank you for asking. Size, material and compatibility are under 'Details' on the product's page; if you tell us "
                "what you plan to use it for, we recommend one."
            ),
            "See 'Details' on the product's page.",
        ),
        "ja": (
            "お問い合わせありがとうございます。大きさ、素材、対応機種は商品ページの「詳細」にございます。ご用途をお知らせいただければ、合う物をご案内します。",
            "商品ページの「詳細」をご覧ください。",
        ),
    },
    "account_deletion": {
        "en": (
            (
                "We have received your request. A colleague deletes your account and your personal data within the legal period, "
                "keeps only what tax law demands, and confirms it in writing."
            ),
            "Your request has been passed on.",
        ),
        "ja": (
            "ご依頼を承りました。担当者が法定の期間内にアカウントと個人情報を削除し、税法上必要な記録のみを残したうえで、書面でお知らせします。",
            "ご依頼を担当者に引き継ぎました。",
        ),
    },
    "complaint": {
        "en": (
            (
                "We apologise for the way you were treated. The head of customer service reads your message personally and answers "
                "you within one working day."
            ),
            "Your complaint has been passed on.",
        ),
        "ja": (
            "不快な思いをおかけし、深くお詫び申し上げます。責任者が内容を確認し、一営業日以内に直接ご連絡いたします。",
            "苦情を担当者に引き継ぎました。",
        ),
    },
}
