#!/usr/bin/perl
# Makes SOAP calls with SOAP::Lite; addresses, actions and parameters are those SOAP::Schema reads from the contract.
# Arguments: NAME=ADDRESS of each contract.
use strict;
use warnings;
use JSON::PP;
use SOAP::Lite;

my %contracts;
for my $contract (@ARGV) {
    my ($name, $address) = split /=/, $contract, 2;
    $contracts{$name} = SOAP::Schema->new(schema_url => $address)->parse->services->{$name};
}

sub to_soap {
    my ($name, $value) = @_;
    my $data = SOAP::Data->name($name);
    return $data->value(undef) unless defined $value;
    return $data->value($value ? 'true' : 'false')->type('') if JSON::PP::is_bool($value);
    return $data->value($value)->type('string') unless ref $value;
    my @members;
    if (exists $value->{of}) {
        @members = map { to_soap($value->{of}, $_) } @{ $value->{items} };
    } else {
        @members = map { to_soap($_, $value->{$_}) } grep { $_ ne 'xsi:type' } sort keys %$value;
        $data->attr({ 'xsi:type' => $value->{'xsi:type'} }) if exists $value->{'xsi:type'};
    }
    return $data->value(\SOAP::Data->value(@members));
}

# SOAP::Lite makes an object of a class of that name of what has a type.
sub from_soap {
    my ($value) = @_;
    my $kind = ref $value or return $value;
    return [map { from_soap($_) } @$value] if $kind eq 'ARRAY';
    my %members = map { $_ => from_soap($value->{$_}) } keys %$value;
    return $kind eq 'HASH' ? \%members : { 'xsi:type' => $kind, %members };
}

sub text_of {
    my ($value) = @_;
    return $value // '' unless ref $value;
    return join '', map { text_of($_) } ref $value eq 'ARRAY' ? @$value : map { $value->{$_} } sort keys %$value;
}

sub call {
    my ($request) = @_;
    my $method = $contracts{ $request->{service} }{ $request->{operation} };
    my $action = $method->{soapaction}->value;
    my $client = SOAP::Lite->new(
        proxy => $request->{address} // $method->{endpoint}->value,
        on_action => sub { qq("$action") },
        on_fault => sub { $_[1] },
    );
    $client->autotype(0)->default_ns($method->{namespace});
    my @given = map { my $name = $_->attr->{name}; to_soap($name, $request->{arguments}{$name}) } @{ $method->{parameters} };
    if (my $header = $request->{header}) {
        my @members = map { to_soap($_, $header->{members}{$_}) } sort keys %{ $header->{members} };
        push @given, SOAP::Header->name($header->{name})->value(\SOAP::Data->value(@members));
    }
    my $answer = $client->call($request->{operation} => @given);
    return { error => "$answer" } unless ref $answer;
    return { value => from_soap($answer->result) } unless $answer->fault;
    my $detail = text_of($answer->faultdetail);
    return { fault => { code => $answer->faultcode, text => $answer->faultstring, detail => $detail eq '' ? undef : $detail } };
}

$| = 1;
my $json = JSON::PP->new->ascii;
while (my $line = <STDIN>) {
    my $answer = eval { call($json->decode($line)) } // { error => "$@" };
    print $json->encode($answer), "\n";
}
