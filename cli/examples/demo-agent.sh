#!/usr/bin/env bash
# The demo's scripted agent: it reads its task, edits the program, runs the tests and commits, and tells `ao`
# what it does with `ao report`, as any command can. Which trouble it gets into depends on the issue.
set -euo pipefail
report() { "$AO_DATA_DIR/run/ao" report "$@"; }

work() { # one real change: a rule of the price list, checked by the program's own tests, committed
    printf '%s\n' "$2" >> rules.txt
    ./test.sh
    git add -A
    git commit -qm "$1"
}

report working
case "$AO_ISSUE" in
1) work "Round prices to cents" "round cents" ;;
2) work "Show prices with currency" "show EUR" ;;
3) # does not know, and asks
    answer=$(report question "Should a coupon also apply to shipping?" \
        --option "Items only" --option "Items and shipping" --wait)
    work "Apply coupons: $answer" "coupon $answer" ;;
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
    work "Add VAT" "vat 19" ;;
5) # hangs the first time, goes on when brought back, is done when a person restores it
    if [ "$AO_LAUNCH" -eq 1 ]; then sleep 3600; fi
    if [ "$AO_LAUNCH" -eq 2 ]; then
        for n in $(seq 600); do echo "step $n" > progress.log; sleep 1; done
    fi
    rm -f progress.log
    work "Sort the list" "sort name" ;;
esac
report completed "Done: issue $AO_ISSUE"
