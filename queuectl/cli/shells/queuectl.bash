# Completion of queuectl for bash 3.2 and newer: eval "$(queuectl completion bash)"

_queuectl() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]}
    local answer kind value help width=0 room i
    local -a values=() helps=()
    COMPREPLY=()

    program=${program/#\~\//$HOME/}
    type -P -- "$program" >/dev/null 2>&1 || program=queuectl # it is an alias of something
    # bash takes a word apart at "=", so the line goes as a whole.
    answer=$("$program" __complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null </dev/null)

    while IFS=$'\t' read -r kind value help; do
        case $kind in
            plain)
                values+=("$value") helps+=("$help")
                ((${#value} > width)) && width=${#value}
                ;;
            file)
                compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- "$word"))
                return
                ;;
            dir)
                compopt -o dirnames 2>/dev/null || COMPREPLY=($(compgen -d -- "$word"))
                return
                ;;
            command)
                if declare -F _command_offset >/dev/null; then
                    _command_offset $((COMP_CWORD - value))
                elif ((value == 0)); then
                    COMPREPLY=($(compgen -c -- "$word"))
                else
                    compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- "$word"))
                fi
                return
                ;;
        esac
    done <<<"$answer"

    # The part of "--option=value" before the value is a word of its own to bash, as long as nobody changed that.
    if [[ $COMP_WORDBREAKS != *=* && $word == --*=* ]]; then
        values=("${values[@]/#/${word%%=*}=}")
    fi
    compopt -o nosort 2>/dev/null

    # A list may show what they mean; what goes into the line may not.
    if ((${#values[@]} > 1)) && [[ $COMP_TYPE == 63 || $COMP_TYPE == 33 || $COMP_TYPE == 64 ]]; then
        room=$((${COLUMNS:-80} - width - 5))
        for i in "${!values[@]}"; do
            if [[ -n ${helps[i]} ]] && ((room > 8)); then
                help=${helps[i]}
                ((${#help} > room)) && help=${help:0:room-1}…
                printf -v 'COMPREPLY[i]' '%-*s  (%s)' "$width" "${values[i]}" "$help"
            else
                COMPREPLY[i]=${values[i]}
            fi
        done
    elif ((${#values[@]} > 0)); then
        COMPREPLY=("${values[@]}")
    fi
}

complete -F _queuectl queuectl
