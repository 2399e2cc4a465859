#!/usr/bin/env bash
# The demo's scripted agent: it reads its task, edits the rules, runs the tests and commits, and tells `ao` what it
# does with `ao report`, as any command can. Which trouble it gets into depends on the issue. From issue 6 on it opens
# a pull request, and then does what it reads in its terminal.
set -euo pipefail
ao() { "$AO_DATA_DIR/run/ao" "$@"; }
report() { ao report "$@"; }

commit() {
    git add -A
    git commit -qm "$1"
}

work() { # one real change: a rule of the shop, checked by its own tests, committed
    printf '%s\n' "$3" >> "rules/$2.txt"
    ./test.sh
    commit "$1"
}

hurry() { # the same, without a look at the tests
    printf '%s\n' "$3" >> "rules/$2.txt"
    commit "$1"
}

hear() { # one message, as it is pasted into this terminal: all up to the mark that ends a paste
    local line
    message=
    while IFS= read -r line; do
        message+=$line$'\n'
        if [[ $line == *$'\e[201~'* ]]; then
            message=${message#*$'\e[200~'}
            message=${message%%$'\e[201~'*}
            echo "> ${message%%. *}"
            return
        fi
    done
    return 1
}

change() { # rewrites the line of a rule that the message names, and says so
    [[ $message =~ (rules/[a-z]+\.txt):([0-9]+) ]]
    local file=${BASH_REMATCH[1]} line=${BASH_REMATCH[2]}
    sed -i "${line}s/.*/$1/" "$file"
    echo "  $file:$line is now: $1"
    commit "${2:-Correct a rule}"
}

rebase() { # onto main; where both have added a rule, both are wanted
    if ! git rebase -q main > rebase.log 2>&1; then
        sed -i '/^[<=>]\{7\}/d' rules/*.txt
        git add rules
        GIT_EDITOR=true git rebase --continue > rebase.log 2>&1
    fi
    rm rebase.log
    ./test.sh
    echo "  rebased: $(tail -n +2 rules/prices.txt | paste -sd ,)"
}

follow() { # to the end of the pull request: whatever is said of it is seen to
    local tries=0
    stty -icanon -echo
    printf '\e[?2004h'
    ao pr create
    report ready
    while hear; do
        report working
        case "$AO_ISSUE $message" in
        *"conflicts with main"*) rebase ;;
        *"Write: "*)
            [[ $message =~ Write:\ ([a-z]+\ [0-9]+) ]]
            change "${BASH_REMATCH[1]}" ;;
        6*) change "discount 5" ;;
        9*) # guesses
            tries=$((tries + 1))
            if [ $tries -eq 1 ]; then change "vat 19 percent"; else change "vat 19 %"; fi ;;
        esac
        report ready
    done
}

report working
case "$AO_ISSUE" in
1) work "Round prices to cents" prices "round cents" ;;
2) work "Show prices with currency" prices "show EUR" ;;
3) # does not know, and asks
    answer=$(report question "Should a coupon also apply to shipping?" \
        --option "Items only" --option "Items and shipping" --wait)
    work "Apply coupons: $answer" prices "coupon ${answer// /-}" ;;
4) # crashes the first time, works on when restored, is done the third time
    if [ "$AO_LAUNCH" -eq 1 ]; then
        echo "half a change" > draft.txt
        echo "price.sh: line 3: ENOSPC: no space left on device" >&2
        exit 1
    fi
    rm -f draft.txt
    if [ "$AO_LAUNCH" -eq 2 ]; then
        for n in $(seq 600); do echo "step $n" > progress.log; sleep 1; done
    fi
    rm -f progress.log
    work "Add VAT" prices "vat 19" ;;
5) # hangs the first time, goes on when restored and when brought back, is done when a person restores it again
    if [ "$AO_LAUNCH" -eq 1 ]; then sleep 3600; fi
    if [ "$AO_LAUNCH" -le 3 ]; then
        for n in $(seq 600); do echo "step $n" > progress.log; sleep 1; done
    fi
    rm -f progress.log
    work "Sort the list" prices "sort name" ;;
6) hurry "Add a discount" prices "discount"
    follow ;;
7) work "Add express shipping" shipping "express 4"
    follow ;;
8) work "Wrap gifts" prices "gift 3"
    follow ;;
9) hurry "Raise the tax" taxes "vat nineteen percent"
    follow ;;
esac
report completed "Done: issue $AO_ISSUE"
